#include "kernels/cuda/sm90/attention_prefill/launch.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <fmt/format.h>

#include "kernels/cuda/config_check.h"
#include "kernels/cuda/sm90/attention_prefill/config.h"

namespace hopskip::cuda {
namespace sm90 {

template <typename T, int kHeadDim>
void launch_prefill(const Launch& launch);  // instances/

}  // namespace sm90

namespace {

struct Instance {
  int head_dim;
  ScalarType type;
  void (*launch)(const Launch& launch);
};

constexpr Instance kInstances[] = {
    {64, ScalarType::kBF16, sm90::launch_prefill<__nv_bfloat16, 64>},
    {64, ScalarType::kF16, sm90::launch_prefill<__half, 64>},
    {128, ScalarType::kBF16, sm90::launch_prefill<__nv_bfloat16, 128>},
    {128, ScalarType::kF16, sm90::launch_prefill<__half, 128>},
    {256, ScalarType::kBF16, sm90::launch_prefill<__nv_bfloat16, 256>},
    {256, ScalarType::kF16, sm90::launch_prefill<__half, 256>},
};

const Instance* find_instance(const AttentionConfig& config) {
  for (const Instance& instance : kInstances) {
    if (instance.head_dim == config.head_dim && instance.type == config.q_type) {
      return &instance;
    }
  }
  return nullptr;
}

std::string why_not(const AttentionConfig& config, const GpuProperties& gpu) {
  if (gpu.compute_capability != 90) {
    return fmt::format("compute capability {}.{} is not 9.0", gpu.compute_capability / 10,
                       gpu.compute_capability % 10);
  }
  if (config.head_dim != 64 && config.head_dim != 128 && config.head_dim != 256) {
    return fmt::format("head_dim {} is not one of 64, 128, 256", config.head_dim);
  }
  if (config.kv_type != config.q_type || find_instance(config) == nullptr) {
    return fmt::format("q_type {} with kv_type {} is not one of bf16, f16 for both",
                       scalar_name(config.q_type), scalar_name(config.kv_type));
  }
  return "";
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

void launch(const Launch& launch) { find_instance(launch.config)->launch(launch); }

}  // namespace

const AttentionKernel kSm90Prefill{.name = "sm90 prefill",
                                   .phase = Phase::kPrefill,
                                   .why_not = why_not,
                                   .tile_plan = tile_plan,
                                   .rows_per_item = rows_per_item,
                                   .split_multiple = 1,
                                   .ctas_per_multiprocessor = 1,
                                   .launch = launch};

}  // namespace hopskip::cuda
