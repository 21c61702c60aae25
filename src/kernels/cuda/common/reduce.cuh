// Sums and maxima over lanes and over CTAs.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_REDUCE_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_REDUCE_CUH_

#include "kernels/cuda/common/macros.cuh"

namespace hopskip::cuda {

// The sum over kLanes neighbouring lanes, a power of two ≤ 32, in each of them.
template <int kLanes>
__device__ inline float lanes_sum(float value) {
  HOPSKIP_UNROLL
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffff, value, distance);
  }
  return value;
}

template <int kLanes>
__device__ inline float lanes_max(float value) {
  HOPSKIP_UNROLL
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, distance));
  }
  return value;
}

// The sum over a CTA of kThreads ≤ 1024 threads, in each of them; called by all of them, once.
template <int kThreads>
__device__ inline float cta_sum(float value) {
  __shared__ float s_sums[kThreads / 32];
  value = lanes_sum<32>(value);
  if (threadIdx.x % 32 == 0) {
    s_sums[threadIdx.x / 32] = value;
  }
  __syncthreads();
  float sum = 0.0f;
  HOPSKIP_UNROLL
  for (int i = 0; i < kThreads / 32; ++i) {
    sum += s_sums[i];
  }
  return sum;
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_REDUCE_CUH_
