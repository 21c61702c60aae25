#include "kernels/cuda/sm90/attention_decode/launch.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <fmt/format.h>

#include "kernels/cuda/instances.h"
#include "kernels/cuda/sm90/attention_decode/config.h"

namespace hopskip::cuda {
namespace sm90 {

struct Fp8;
template <typename Q, typename Kv, int kHeadDim>
void launch_decode(const Launch& launch);  // instances/

}  // namespace sm90

namespace {

constexpr ScalarType kBF16 = ScalarType::kBF16;
constexpr ScalarType kF16 = ScalarType::kF16;
constexpr ScalarType kF8 = ScalarType::kF8E4M3;
constexpr Instance kInstances[] = {
    {64, kBF16, kBF16, sm90::launch_decode<__nv_bfloat16, __nv_bfloat16, 64>},
    {64, kF16, kF16, sm90::launch_decode<__half, __half, 64>},
    {64, kBF16, kF8, sm90::launch_decode<__nv_bfloat16, sm90::Fp8, 64>},
    {64, kF16, kF8, sm90::launch_decode<__half, sm90::Fp8, 64>},
    {128, kBF16, kBF16, sm90::launch_decode<__nv_bfloat16, __nv_bfloat16, 128>},
    {128, kF16, kF16, sm90::launch_decode<__half, __half, 128>},
    {128, kBF16, kF8, sm90::launch_decode<__nv_bfloat16, sm90::Fp8, 128>},
    {128, kF16, kF8, sm90::launch_decode<__half, sm90::Fp8, 128>},
    {256, kBF16, kBF16, sm90::launch_decode<__nv_bfloat16, __nv_bfloat16, 256>},
    {256, kF16, kF16, sm90::launch_decode<__half, __half, 256>},
    {256, kBF16, kF8, sm90::launch_decode<__nv_bfloat16, sm90::Fp8, 256>},
    {256, kF16, kF8, sm90::launch_decode<__half, sm90::Fp8, 256>},
};

std::string why_not(const AttentionConfig& config, const GpuProperties& gpu) {
  if (gpu.compute_capability != 90) {
    return capability_text(gpu) + " is not 9.0";
  }
  const int group = config.num_heads / config.num_kv_heads;
  if (group > sm90::kDecodeRows) {
    return fmt::format("{} query heads share a KV head, more than {}", group, sm90::kDecodeRows);
  }
  return why_no_instance(kInstances, config);
}

TilePlan tile_plan(const AttentionConfig& config, int split_keys) {
  const int row_bytes = config.head_dim * (config.kv_type == kF8 ? 1 : 2);
  return {.rows = 1,
          .heads = config.num_heads / config.num_kv_heads,
          .keys = sm90::kDecodeSliceKeys,
          .span = sm90::decode_stage_keys(row_bytes),
          .order = VisitOrder::kFirstToLast,
          .seed = MaxSeed::kEnds,
          .split = split_keys / sm90::kDecodeWarps};
}

int ctas_per_multiprocessor(const AttentionConfig& config) {
  return sm90::decode_ctas(config.head_dim * (config.kv_type == kF8 ? 1 : 2));
}

void launch(const Launch& launch) { find_instance(kInstances, launch.config)->launch(launch); }

}  // namespace

const AttentionKernel kSm90Decode{.name = "sm90 decode",
                                  .phase = Phase::kDecode,
                                  .why_not = why_not,
                                  .tile_plan = tile_plan,
                                  .rows_per_item = nullptr,
                                  .split_multiple = sm90::kDecodeSplitMultiple,
                                  .ctas_per_multiprocessor = ctas_per_multiprocessor,
                                  .launch = launch};

}  // namespace hopskip::cuda
