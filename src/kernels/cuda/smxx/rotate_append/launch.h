// What attention needs of a layer's projections, in one pass: heads of q and k normalised and
// rotated, k and v in the cache.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_ROTATE_APPEND_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_ROTATE_APPEND_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// Whether it can rotate such heads: all dimensions of 64, 128 or 256, halves apart.
inline bool rotates_and_appends(int head_dim, int64_t pairs, bool interleaved) {
  return (head_dim == 64 || head_dim == 128 || head_dim == 256) && 2 * pairs == head_dim &&
         !interleaved;
}

// Matrices in BF16, on lines of 16 bytes; strides from token to token, multiples of 8.
struct RotateAppendArgs {
  void* q;        // [tokens][q_heads][head_dim], changed in place
  const void* k;  // [tokens][kv_heads][head_dim]
  const void* v;  // [tokens][kv_heads][head_dim]
  int64_t q_stride;
  int64_t k_stride;
  int64_t v_stride;
  const float* q_norm;       // [head_dim]: heads · q_norm / sqrt(mean of squares + eps); or null
  const float* k_norm;       // [head_dim] or null
  const int32_t* positions;  // [tokens]
  const float* inv_freq;     // [head_dim / 2]
  void* k_cache;             // [pages][page_size][kv_heads][head_dim], BF16 or FP8 E4M3
  void* v_cache;             // like k_cache
  const int64_t* slots;      // [tokens]: page · page_size + place in the page; below 0: no token
  int64_t tokens;
  int32_t q_heads;
  int32_t kv_heads;
  int32_t head_dim;
  float eps;
  float magnitude;    // factor of cos and sin
  bool cache_is_fp8;  // stores k · (1 / k_scale) and v · (1 / v_scale), beyond ±448 as ±448
  float k_scale;
  float v_scale;
};

void launch_rotate_append(const RotateAppendArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_ROTATE_APPEND_LAUNCH_H_
