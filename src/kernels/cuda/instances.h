// The compiled instances of a kernel family: which head_dim and types it has, and how each is
// launched.
#ifndef HOPSKIP_KERNELS_CUDA_INSTANCES_H_
#define HOPSKIP_KERNELS_CUDA_INSTANCES_H_

#include <span>
#include <string>

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

struct Instance {
  int head_dim;
  ScalarType q_type;
  ScalarType kv_type;
  void (*launch)(const Launch& launch);
};

// Null: there is none for this configuration.
const Instance* find_instance(std::span<const Instance> instances, const AttentionConfig& config);

// Empty where there is one, else a clause that says what there is: head_dims, or types at this one.
std::string why_no_instance(std::span<const Instance> instances, const AttentionConfig& config);

// "compute capability 7.5": for reasons why a GPU will not do.
std::string capability_text(const GpuProperties& gpu);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_INSTANCES_H_
