// Writes new keys and values into the paged cache.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_KV_APPEND_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_KV_APPEND_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct KvAppendArgs {
  const void* k;         // [tokens][cols] BF16, rows k_stride elements apart
  const void* v;         // [tokens][cols] BF16, rows v_stride elements apart
  void* k_cache;         // [pages][page_size][cols], BF16 or FP8 E4M3
  void* v_cache;         // like k_cache
  const int64_t* slots;  // [tokens]: page · page_size + place in the page; below 0: no token
  int64_t tokens;
  int64_t k_stride;
  int64_t v_stride;
  int32_t cols;       // kv_heads · head_dim
  bool cache_is_fp8;  // stores k · (1 / k_scale) and v · (1 / v_scale), beyond ±448 as ±448
  float k_scale;
  float v_scale;
};

void launch_kv_append(const KvAppendArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_KV_APPEND_LAUNCH_H_
