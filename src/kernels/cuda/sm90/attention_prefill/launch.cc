#include "kernels/cuda/sm90/attention_prefill/launch.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/instances.h"
#include "kernels/cuda/sm90/attention_prefill/config.h"

namespace hopskip::cuda {
namespace sm90 {

template <typename T, int kHeadDim>
void launch_prefill(const Launch& launch);  // instances/

}  // namespace sm90

namespace {

constexpr ScalarType kBF16 = ScalarType::kBF16;
constexpr ScalarType kF16 = ScalarType::kF16;
constexpr Instance kInstances[] = {
    {64, kBF16, kBF16, sm90::launch_prefill<__nv_bfloat16, 64>},
    {64, kF16, kF16, sm90::launch_prefill<__half, 64>},
    {128, kBF16, kBF16, sm90::launch_prefill<__nv_bfloat16, 128>},
    {128, kF16, kF16, sm90::launch_prefill<__half, 128>},
    {256, kBF16, kBF16, sm90::launch_prefill<__nv_bfloat16, 256>},
    {256, kF16, kF16, sm90::launch_prefill<__half, 256>},
};

std::string why_not(const AttentionConfig& config, const GpuProperties& gpu) {
  if (gpu.compute_capability != 90) {
    return capability_text(gpu) + " is not 9.0";
  }
  return why_no_instance(kInstances, config);
}

TilePlan tile_plan(const AttentionConfig& config, int /*split_keys*/) {
  return {.rows = sm90::kPrefillVoteRows,
          .heads = 1,
          .keys = sm90::kPrefillSliceKeys,
          .span = sm90::prefill_config(config.head_dim).tile_keys,
          .order = config.window > 0 ? sm90::kPrefillWindowOrder : sm90::kPrefillOrder,
          .seed = MaxSeed::kNone,
          .split = 0};
}

int rows_per_item(const AttentionConfig& config) {
  return sm90::prefill_config(config.head_dim).rows();
}

int ctas_per_multiprocessor(const AttentionConfig& /*config*/) { return 1; }

void launch(const Launch& launch) { find_instance(kInstances, launch.config)->launch(launch); }

}  // namespace

const AttentionKernel kSm90Prefill{.name = "sm90 prefill",
                                   .phase = Phase::kPrefill,
                                   .why_not = why_not,
                                   .tile_plan = tile_plan,
                                   .rows_per_item = rows_per_item,
                                   .split_multiple = 1,
                                   .ctas_per_multiprocessor = ctas_per_multiprocessor,
                                   .launch = launch};

}  // namespace hopskip::cuda
