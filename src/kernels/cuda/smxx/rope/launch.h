// Rotary embedding in place; what it means: Rope in kernels/backend.h.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_ROPE_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_ROPE_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct RopeArgs {
  void* x;                   // [tokens][heads][head_dim] BF16, tokens `stride` elements apart
  const int32_t* positions;  // [tokens]
  const float* inv_freq;     // [half]
  int64_t tokens;
  int64_t stride;
  int32_t heads;
  int32_t head_dim;
  int32_t half;     // pairs of a head: rot / 2, 2 · half ≤ head_dim
  float magnitude;  // factor of cos and sin
  bool interleaved;
};

void launch_rope(const RopeArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_ROPE_LAUNCH_H_
