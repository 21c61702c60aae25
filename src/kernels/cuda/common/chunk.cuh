// Rows of any width in chunks of eight elements: vectors of 16 bytes where they lie on lines of 16
// bytes, single elements elsewhere.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_CHUNK_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_CHUNK_CUH_

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/pack.cuh"

namespace hopskip::cuda {

inline constexpr int kChunk = 8;

inline __host__ __device__ int64_t chunks_of(int64_t elements) {
  return (elements + kChunk - 1) / kChunk;
}

// Whether every chunk of rows of T at `data`, `stride` elements apart, lies on such a line.
template <typename T>
inline bool on_lines(const void* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
         stride * static_cast<int64_t>(sizeof(T)) % 16 == 0;
}

__device__ inline float bf16_low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float bf16_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000); }

__device__ inline void unpack_bf16(uint4 line, float (&r)[kChunk]) {
  const uint32_t words[4] = {line.x, line.y, line.z, line.w};
  HOPSKIP_UNROLL
  for (int i = 0; i < 4; ++i) {
    r[2 * i] = bf16_low(words[i]);
    r[2 * i + 1] = bf16_high(words[i]);
  }
}
__device__ inline uint4 pack_bf16(const float (&r)[kChunk]) {
  return {pack2<__nv_bfloat16>(r[0], r[1]), pack2<__nv_bfloat16>(r[2], r[3]),
          pack2<__nv_bfloat16>(r[4], r[5]), pack2<__nv_bfloat16>(r[6], r[7])};
}

// Of `count` ≥ 0 elements behind g the first eight; zeros for those that do not exist. `lines`: g
// lies on a line.
template <typename T>
__device__ inline void load_chunk(const T* g, int64_t count, bool lines, float (&r)[kChunk]) {
  if (lines && count >= kChunk) {
    if constexpr (std::is_same_v<T, float>) {
      const float4 a = reinterpret_cast<const float4*>(g)[0];
      const float4 b = reinterpret_cast<const float4*>(g)[1];
      const float values[kChunk] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
      HOPSKIP_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        r[i] = values[i];
      }
    } else {
      unpack_bf16(*reinterpret_cast<const uint4*>(g), r);
    }
    return;
  }
  HOPSKIP_UNROLL
  for (int i = 0; i < kChunk; ++i) {
    r[i] = i < count ? static_cast<float>(g[i]) : 0.0f;
  }
}

// Writes the first eight of `count` elements, BF16 rounded to nearest even.
template <typename T>
__device__ inline void store_chunk(T* g, int64_t count, bool lines, const float (&r)[kChunk]) {
  if (lines && count >= kChunk) {
    if constexpr (std::is_same_v<T, float>) {
      reinterpret_cast<float4*>(g)[0] = {r[0], r[1], r[2], r[3]};
      reinterpret_cast<float4*>(g)[1] = {r[4], r[5], r[6], r[7]};
    } else {
      *reinterpret_cast<uint4*>(g) = pack_bf16(r);
    }
    return;
  }
  HOPSKIP_UNROLL
  for (int i = 0; i < kChunk; ++i) {
    if (i < count) {
      if constexpr (std::is_same_v<T, float>) {
        g[i] = r[i];
      } else {
        g[i] = __float2bfloat16(r[i]);
      }
    }
  }
}

// CTAs of `threads` threads for `items` pieces of work that a loop over the grid handles.
inline int grid_for(int64_t items, int threads) {
  constexpr int64_t kMost = 132 * 64;  // several waves of any GPU
  const int64_t ctas = (items + threads - 1) / threads;
  return static_cast<int>(ctas < kMost ? ctas : kMost);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_CHUNK_CUH_
