#include "kernels/cuda/instances.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "kernels/cuda/config_check.h"

namespace hopskip::cuda {

const Instance* find_instance(std::span<const Instance> instances, const AttentionConfig& config) {
  const auto found = std::find_if(instances.begin(), instances.end(), [&](const Instance& i) {
    return i.head_dim == config.head_dim && i.q_type == config.q_type &&
           i.kv_type == config.kv_type;
  });
  return found == instances.end() ? nullptr : &*found;
}

std::string why_no_instance(std::span<const Instance> instances, const AttentionConfig& config) {
  if (find_instance(instances, config) != nullptr) {
    return "";
  }
  std::set<int> head_dims;
  std::string types;
  for (const Instance& instance : instances) {
    head_dims.insert(instance.head_dim);
    if (instance.head_dim == config.head_dim) {
      types += fmt::format("{}{} with {}", types.empty() ? "" : ", ", scalar_name(instance.q_type),
                           scalar_name(instance.kv_type));
    }
  }
  if (types.empty()) {
    return fmt::format("head_dim {} is not one of {}", config.head_dim, fmt::join(head_dims, ", "));
  }
  return fmt::format("q_type {} with kv_type {} is not one of {} at head_dim {}",
                     scalar_name(config.q_type), scalar_name(config.kv_type), types,
                     config.head_dim);
}

std::string capability_text(const GpuProperties& gpu) {
  return fmt::format("compute capability {}.{}", gpu.compute_capability / 10,
                     gpu.compute_capability % 10);
}

}  // namespace hopskip::cuda
