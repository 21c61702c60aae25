// Copies pages of an FP8 cache to consecutive pages of BF16, for kernels that read no FP8.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_KV_EXPAND_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_KV_EXPAND_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// All addresses but `pages` are multiples of 16 bytes. Page pages[i] of a cache becomes page i of
// its copy: k_scale or v_scale times the value, rounded to BF16 (exact where the scale is a power
// of two).
struct KvExpandArgs {
  const void* k_cache;   // [pages][page_elements] FP8 E4M3
  const void* v_cache;   // like k_cache
  void* k_out;           // [num_pages][page_elements] BF16
  void* v_out;           // like k_out
  const int32_t* pages;  // [num_pages]
  int64_t num_pages;
  int64_t page_elements;  // a multiple of 8
  float k_scale;
  float v_scale;
};

void launch_kv_expand(const KvExpandArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_KV_EXPAND_LAUNCH_H_
