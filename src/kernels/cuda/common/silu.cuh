// The gate of SwiGLU.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_SILU_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_SILU_CUH_

namespace hopskip::cuda {

// x · sigmoid(x). The exponential of −|x| cannot overflow, so tiny results are not lost.
__device__ inline float silu(float x) {
  const float e = expf(-fabsf(x));
  return x * (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_SILU_CUH_
