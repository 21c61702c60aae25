// FP8 E4M3 to FP16, exactly.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_FP8_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_FP8_CUH_

#include <cstdint>

namespace hopskip::cuda {

// Two E4M3 values, in bytes 1 and 3 of `bytes` (bytes 0 and 2 are ignored), as two halves. E4M3 has
// the fields of a half whose exponent bias is 7 instead of 15, but no infinity, and NaN where all
// seven bits are set.
__device__ inline uint32_t e4m3x2_to_f16x2_emulated(uint32_t bytes) {
  const uint32_t magnitude = bytes & 0x7f007f00;
  const uint32_t biased = (bytes & 0x80008000) | (magnitude >> 1);
  uint32_t halves;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(halves) : "r"(biased), "r"(0x5c005c00));  // · 2^8
  return halves | (__vcmpeq2(magnitude, 0x7f007f00) & 0x7fff7fff);
}

// Bytes `low` and `high` (0 … 3 of a, 4 … 7 of b) as the lower and the upper half of the result.
template <int kLow, int kHigh>
__device__ inline uint32_t e4m3_pair_to_f16x2(uint32_t a, uint32_t b) {
#if __CUDA_ARCH__ >= 890
  const auto pair = static_cast<uint16_t>(__byte_perm(a, b, kLow | kHigh << 4));
  uint32_t halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(pair));
  return halves;
#else
  return e4m3x2_to_f16x2_emulated(__byte_perm(a, b, kLow << 4 | kHigh << 12));
#endif
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_FP8_CUH_
