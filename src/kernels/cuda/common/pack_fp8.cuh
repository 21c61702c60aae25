// To FP8 E4M3: to nearest even, what lies beyond ±448 as ±448, NaN as NaN.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_PACK_FP8_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_PACK_FP8_CUH_

#include <cuda_fp8.h>

#include <cstdint>

#include "kernels/cuda/common/chunk.cuh"

namespace hopskip::cuda {

// `low` in the lower byte. One instruction from compute capability 8.9 on.
__device__ inline uint32_t pack_e4m3(float low, float high) {
  return __nv_cvt_float2_to_fp8x2({low, high}, __NV_SATFINITE, __NV_E4M3);
}

__device__ inline uint2 pack_e4m3(const float (&r)[kChunk]) {
  return {pack_e4m3(r[0], r[1]) | pack_e4m3(r[2], r[3]) << 16,
          pack_e4m3(r[4], r[5]) | pack_e4m3(r[6], r[7]) << 16};
}

// An element of an FP8 cache.
struct Fp8 {
  uint8_t bits;
};

// A line of eight BF16 values as a cache stores them; FP8 as value · inverse, since a division for
// each would cost more than the memory does.
__device__ inline void write_line(__nv_bfloat16* g, uint4 line, float /*inverse*/) {
  *reinterpret_cast<uint4*>(g) = line;
}
__device__ inline void write_line(Fp8* g, uint4 line, float inverse) {
  float r[kChunk];
  unpack_bf16(line, r);
  HOPSKIP_UNROLL
  for (float& value : r) {
    value *= inverse;
  }
  *reinterpret_cast<uint2*>(g) = pack_e4m3(r);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_PACK_FP8_CUH_
