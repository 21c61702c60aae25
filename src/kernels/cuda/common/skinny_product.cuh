// Products of weight rows with a few tokens, at the speed at which the weights can be read.
//
// A CTA multiplies 16 or 32 weight rows: they are the A operand of mma.sync, 8 tokens are its 8
// columns. Its warps share the inner dimension: warp w takes 32 elements of every 256, so that a
// CTA reads whole stretches of each row, and the loads of many warps are in flight. A lane's 16
// bytes are eight neighbouring elements instead of the two pairs that the fragment's layout names:
// the order of the inner dimension does not matter as long as both operands have the same.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_SKINNY_PRODUCT_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_SKINNY_PRODUCT_CUH_

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/ptx/sm80.cuh"

namespace hopskip::cuda {

inline constexpr int kSkinnyThreads = 256;
inline constexpr int kSkinnyWarps = kSkinnyThreads / 32;
inline constexpr int kSkinnyMaxTokens = 32;  // of one product

// kTiles of 16 weight rows, kGroups of 8 tokens.
template <int kTiles, int kGroups>
struct SkinnyProduct {
  static constexpr int kStep = 32;  // elements that a warp takes of a row at once
  // Steps whose loads are in flight: 8 KB a warp where registers allow it.
  static constexpr int kAhead = kGroups == 1 ? 8 / kTiles : kGroups == 2 ? 4 / kTiles : 2;
  static constexpr int kSumStride = 16 * kTiles + 4;  // from token to token: no bank conflicts

  struct Shared {
    float sums[kSkinnyWarps][8 * kGroups][kSumStride];  // [warp][token][weight row]
  };

  // The rows of a tile that this lane loads, at its part of the first step.
  using Rows = const __nv_bfloat16* [kTiles][2];
  // Rows that do not exist are read as the last one that does; nobody looks at their products.
  static __device__ void set_tile(Rows& rows, int tile, const void* weights, int first, int last,
                                  int in) {
    const int lane = threadIdx.x % 32;
    HOPSKIP_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int64_t row = min(first + lane / 4 + 8 * h, last);
      rows[tile][h] = static_cast<const __nv_bfloat16*>(weights) + row * in + 8 * (lane % 4);
    }
  }

  // [tokens] of `in` elements, a multiple of 8, on lines of 16 bytes. token(i) gives the elements
  // of token i < 8 · kGroups; it is first called when the loads of the first weights have begun.
  // Ends with the CTA in step, the sums of all warps in `s`.
  template <typename Token>
  static __device__ void run(const Rows& rows, int in, const Token& token, Shared& s) {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int g = lane / 4;
    const int t = lane % 4;
    uint4 r_a[kAhead][kTiles][2];
    const auto load_weights = [&](int base) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kAhead; ++i) {
        const int k = base + i * kSkinnyWarps * kStep;
        const bool exists = k + 8 * t < in;
        HOPSKIP_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          HOPSKIP_UNROLL
          for (int h = 0; h < 2; ++h) {
            r_a[i][tile][h] = exists ? __ldcs(reinterpret_cast<const uint4*>(rows[tile][h] + k))
                                     : uint4{0, 0, 0, 0};
          }
        }
      }
    };
    int base = warp * kStep;
    load_weights(base);
    const __nv_bfloat16* g_tokens[kGroups];
    HOPSKIP_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      g_tokens[group] = token(8 * group + g) + 8 * t;
    }
    float r_c[kTiles][kGroups][4] = {};
    while (base < in) {
      uint4 r_b[kAhead][kGroups];
      HOPSKIP_UNROLL
      for (int i = 0; i < kAhead; ++i) {
        const int k = base + i * kSkinnyWarps * kStep;
        HOPSKIP_UNROLL
        for (int group = 0; group < kGroups; ++group) {
          r_b[i][group] = k + 8 * t < in ? *reinterpret_cast<const uint4*>(g_tokens[group] + k)
                                         : uint4{0, 0, 0, 0};
        }
      }
      HOPSKIP_UNROLL
      for (int i = 0; i < kAhead; ++i) {
        HOPSKIP_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const uint4& low = r_a[i][tile][0];
          const uint4& high = r_a[i][tile][1];
          const uint32_t a0[4] = {low.x, high.x, low.y, high.y};
          const uint32_t a1[4] = {low.z, high.z, low.w, high.w};
          HOPSKIP_UNROLL
          for (int group = 0; group < kGroups; ++group) {
            const uint4& b = r_b[i][group];
            ptx::sm80::mma<__nv_bfloat16>(r_c[tile][group], a0, b.x, b.y);
            ptx::sm80::mma<__nv_bfloat16>(r_c[tile][group], a1, b.z, b.w);
          }
        }
      }
      base += kAhead * kSkinnyWarps * kStep;
      if (base < in) {
        load_weights(base);
      }
    }
    HOPSKIP_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      HOPSKIP_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        HOPSKIP_UNROLL
        for (int i = 0; i < 4; ++i) {
          s.sums[warp][8 * group + 2 * t + i % 2][16 * tile + g + 8 * (i / 2)] =
              r_c[tile][group][i];
        }
      }
    }
    __syncthreads();
  }

  // The product of a weight row (16 · tile + row in it) and a token.
  static __device__ float sum(const Shared& s, int token, int row) {
    float sum = 0.0f;
    HOPSKIP_UNROLL
    for (int w = 0; w < kSkinnyWarps; ++w) {
      sum += s.sums[w][token][row];
    }
    return sum;
  }
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_SKINNY_PRODUCT_CUH_
