// A row of the table in select.cc: one attention kernel family on one GPU generation.
#ifndef HOPSKIP_KERNELS_CUDA_KERNEL_H_
#define HOPSKIP_KERNELS_CUDA_KERNEL_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "attention/tile_plan.h"
#include "hopskip/attention.h"
#include "kernels/cuda/kernel_params.h"

namespace hopskip::cuda {

// What kernels ask of a GPU.
struct GpuProperties {
  int compute_capability = 0;  // 90 for 9.0
  int multiprocessors = 0;
  int shared_memory_per_block = 0;  // bytes, opt-in
};

// One call of run(), for the kernel's launcher.
struct Launch {
  const AttentionConfig& config;
  const AttentionArgs& args;
  int64_t q_rows;     // extents of q and out, …
  int64_t kv_tokens;  // … of contiguous k and v, …
  int64_t num_pages;  // … or of paged ones
  int num_ctas;       // of the persistent grid
  CudaStream stream;
};

struct AttentionKernel {
  std::string_view name;  // "sm90 prefill"
  Phase phase;
  // Empty where it can run, else why not: one clause, "head_dim 80 is not one of 64, 128, 256".
  std::string (*why_not)(const AttentionConfig& config, const GpuProperties& gpu);
  // The plan it follows. split_keys: decode, keys of one CTA's range.
  TilePlan (*tile_plan)(const AttentionConfig& config, int split_keys);
  // Prefill: query tokens of one work item (one head, one CTA).
  int (*rows_per_item)(const AttentionConfig& config);
  // Decode: split_keys is a multiple of this.
  int split_multiple;
  // CTAs that run at the same time on a multiprocessor: the persistent grid has no more.
  int (*ctas_per_multiprocessor)(const AttentionConfig& config);
  // Throws Device.
  void (*launch)(const Launch& launch);
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_KERNEL_H_
