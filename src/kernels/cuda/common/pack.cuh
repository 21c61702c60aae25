// Packs pairs of floats into 16-bit types, and turns fragments into 16-byte lines.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_PACK_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_PACK_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace hopskip::cuda {

// `low` in the lower half, rounded to nearest even.
template <typename T>
__device__ inline uint32_t pack2(float low, float high) {
  uint32_t packed;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  } else {
    static_assert(std::is_same_v<T, __half>);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  }
  return packed;
}

// Lane t of a quad holds word t of four 16-byte lines; afterwards it holds all of line t. To be
// called by whole warps.
__device__ inline uint4 transpose_quad(const uint32_t (&words)[4], int lane) {
  const bool odd = (lane & 1) != 0;
  const bool upper = (lane & 2) != 0;
  // Even lanes take lines 0 and 2, odd ones 1 and 3: half a line each.
  const uint32_t a = __shfl_xor_sync(0xffffffff, odd ? words[0] : words[1], 1);
  const uint32_t b = __shfl_xor_sync(0xffffffff, odd ? words[2] : words[3], 1);
  const uint2 first = odd ? uint2{a, words[1]} : uint2{words[0], a};
  const uint2 second = odd ? uint2{b, words[3]} : uint2{words[2], b};
  // Lanes 0 and 1 complete the first, lanes 2 and 3 the second.
  const uint2 give = upper ? first : second;
  const uint2 got = {__shfl_xor_sync(0xffffffff, give.x, 2),
                     __shfl_xor_sync(0xffffffff, give.y, 2)};
  return upper ? uint4{got.x, got.y, second.x, second.y} : uint4{first.x, first.y, got.x, got.y};
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_PACK_CUH_
