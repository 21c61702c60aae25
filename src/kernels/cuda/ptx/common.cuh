// Instructions that every GPU generation has, one wrapper each.
#ifndef HOPSKIP_KERNELS_CUDA_PTX_COMMON_CUH_
#define HOPSKIP_KERNELS_CUDA_PTX_COMMON_CUH_

#include <cstdint>

namespace hopskip::ptx {

__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// 2^x; 2^−inf is 0. Relative error 2^-22 (PTX ISA).
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace hopskip::ptx

#endif  // HOPSKIP_KERNELS_CUDA_PTX_COMMON_CUH_
