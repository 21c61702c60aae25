#include "kernels/cuda/sm80/attention_decode/launch.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <fmt/format.h>

#include "kernels/cuda/instances.h"
#include "kernels/cuda/sm80/attention_decode/config.h"

namespace hopskip::cuda {
namespace sm80 {

struct Fp8;
template <typename Q, typename Kv, int kHeadDim>
void launch_decode(const Launch& launch);  // instances/

}  // namespace sm80

namespace {

constexpr ScalarType kBF16 = ScalarType::kBF16;
constexpr ScalarType kF16 = ScalarType::kF16;
constexpr ScalarType kF8 = ScalarType::kF8E4M3;
constexpr Instance kInstances[] = {
    {64, kBF16, kBF16, sm80::launch_decode<__nv_bfloat16, __nv_bfloat16, 64>},
    {64, kF16, kF16, sm80::launch_decode<__half, __half, 64>},
    {64, kBF16, kF8, sm80::launch_decode<__nv_bfloat16, sm80::Fp8, 64>},
    {64, kF16, kF8, sm80::launch_decode<__half, sm80::Fp8, 64>},
    {128, kBF16, kBF16, sm80::launch_decode<__nv_bfloat16, __nv_bfloat16, 128>},
    {128, kF16, kF16, sm80::launch_decode<__half, __half, 128>},
    {128, kBF16, kF8, sm80::launch_decode<__nv_bfloat16, sm80::Fp8, 128>},
    {128, kF16, kF8, sm80::launch_decode<__half, sm80::Fp8, 128>},
    {256, kBF16, kBF16, sm80::launch_decode<__nv_bfloat16, __nv_bfloat16, 256>},
    {256, kF16, kF16, sm80::launch_decode<__half, __half, 256>},
};

std::string why_not(const AttentionConfig& config, const GpuProperties& gpu) {
  if (gpu.compute_capability < 80) {
    return capability_text(gpu) + " is below 8.0";
  }
  const int group = config.num_heads / config.num_kv_heads;
  if (group > sm80::kDecodeRows) {
    return fmt::format("{} query heads share a KV head, more than {}", group, sm80::kDecodeRows);
  }
  return why_no_instance(kInstances, config);
}

TilePlan tile_plan(const AttentionConfig& config, int split_keys) {
  const int row_bytes = config.head_dim * (config.kv_type == kF8 ? 1 : 2);
  return {.rows = 1,
          .heads = config.num_heads / config.num_kv_heads,
          .keys = sm80::kDecodeSliceKeys,
          .span = sm80::decode_stage_keys(row_bytes),
          .order = VisitOrder::kFirstToLast,
          .seed = MaxSeed::kEnds,
          .split = split_keys / sm80::decode_warps(row_bytes)};
}

int ctas_per_multiprocessor(const AttentionConfig& /*config*/) { return sm80::kDecodeCtas; }

void launch(const Launch& launch) { find_instance(kInstances, launch.config)->launch(launch); }

}  // namespace

const AttentionKernel kSm80Decode{.name = "sm80 decode",
                                  .phase = Phase::kDecode,
                                  .why_not = why_not,
                                  .tile_plan = tile_plan,
                                  .rows_per_item = nullptr,
                                  .split_multiple = sm80::kDecodeSplitMultiple,
                                  .ctas_per_multiprocessor = ctas_per_multiprocessor,
                                  .launch = launch};

}  // namespace hopskip::cuda
