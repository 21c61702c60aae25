// Products of weight rows with a few tokens, at the speed at which the weights can be read.
//
// A CTA multiplies 16 or 32 weight rows: they are the A operand of mma.sync, 8 tokens are its 8
// columns. Its warps share the inner dimension: warp w takes 32 elements of every 256, so that a
// CTA reads whole stretches of each row. Each lane keeps the loads of several steps in flight, and
// asks for the next as soon as one has been used. Its 16 bytes are eight neighbouring elements
// instead of the two pairs that the fragment's layout names: the order of the inner dimension does
// not matter as long as both operands have the same.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_SKINNY_PRODUCT_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_SKINNY_PRODUCT_CUH_

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/reduce.cuh"
#include "kernels/cuda/common/weight_stream.h"
#include "kernels/cuda/ptx/sm80.cuh"

namespace hopskip::cuda {

inline constexpr int kSkinnyThreads = 256;
inline constexpr int kSkinnyWarps = kSkinnyThreads / 32;
inline constexpr int kSkinnyMaxTokens = 32;  // of one product

// Tokens [8 · kGroups][in] in global memory, in BF16 on lines of 16 bytes; token(i) points to the
// first element of token i and is first called when the loads of the first weights have begun.
template <int kGroups, typename Token>
struct GlobalTokens {
  static constexpr bool kInRegisters = true;
  const Token& token;
  int in;
  const __nv_bfloat16* g_tokens[kGroups];

  __device__ void begin() {
    HOPSKIP_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      g_tokens[group] = token(8 * group + threadIdx.x % 32 / 4);
    }
  }
  __device__ uint4 get(int group, int k) const {
    return k < in ? *reinterpret_cast<const uint4*>(g_tokens[group] + k) : uint4{0, 0, 0, 0};
  }
};

// Up to 8 tokens in shared memory, rows kSharedTokenPad elements longer than they are. prepare()
// fills it and is called when the loads of the first weights have begun.
template <typename Prepare>
struct SharedTokens {
  static constexpr bool kInRegisters = false;
  const Prepare& prepare;
  const __nv_bfloat16* s_tokens;
  int tokens;
  int in;

  __device__ void begin() {
    prepare();
    s_tokens += min(static_cast<int>(threadIdx.x % 32 / 4), tokens - 1) * (in + kSharedTokenPad);
  }
  __device__ uint4 get(int /*group*/, int k) const {
    return k < in ? *reinterpret_cast<const uint4*>(s_tokens + k) : uint4{0, 0, 0, 0};
  }
};

// kTiles of 16 weight rows, kGroups of 8 tokens; by kWarps warps, numbered from 0.
template <int kTiles, int kGroups, int kWarps = kSkinnyWarps>
struct SkinnyProduct {
  static constexpr int kStep = 32 * kWarps;  // elements that the warps take of a row at once
  // Steps whose loads are in flight: 8 KB a warp where registers allow it.
  static constexpr int kAhead = kGroups == 1 ? 8 / kTiles : kGroups == 2 ? 4 / kTiles : 2;
  static constexpr int kTokensAhead = kAhead < 4 ? kAhead : 4;  // they are in a cache
  static constexpr int kSumStride = 16 * kTiles + 4;  // from token to token: no bank conflicts

  struct Shared {
    float sums[kSkinnyWarps][8 * kGroups][kSumStride];  // [warp][token][weight row]
  };

  // The rows of a tile that this lane loads, from their beginning.
  using Rows = const __nv_bfloat16* [kTiles][2];
  // Rows that do not exist are read as the last one that does; nobody looks at their products.
  static __device__ void set_tile(Rows& rows, int tile, const void* weights, int first, int last,
                                  int in) {
    HOPSKIP_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int64_t row = min(first + static_cast<int>(threadIdx.x % 32) / 4 + 8 * h, last);
      rows[tile][h] = static_cast<const __nv_bfloat16*>(weights) + row * in;
    }
  }

  // r_c: lane 4 g + t holds of tile and group: rows g (c[0], c[1]) and g + 8, tokens 2 t, 2 t + 1.
  template <typename Tokens>
  static __device__ void multiply(const Rows& rows, int in, Tokens& tokens, int warp,
                                  float (&r_c)[kTiles][kGroups][4]) {
    const int first = 32 * warp + 8 * (static_cast<int>(threadIdx.x) % 4);
    uint4 r_a[kAhead][kTiles][2];
    const auto load_weights = [&](int i, int k) {
      HOPSKIP_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        HOPSKIP_UNROLL
        for (int h = 0; h < 2; ++h) {
          r_a[i][tile][h] = k < in ? __ldcs(reinterpret_cast<const uint4*>(rows[tile][h] + k))
                                   : uint4{0, 0, 0, 0};
        }
      }
    };
    HOPSKIP_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      load_weights(i, first + i * kStep);
    }
    tokens.begin();
    constexpr int kSlots = Tokens::kInRegisters ? kTokensAhead : 1;
    uint4 r_b[kSlots][kGroups];
    const auto load_tokens = [&](int i, int k) {
      HOPSKIP_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        r_b[i][group] = tokens.get(group, k);
      }
    };
    if constexpr (Tokens::kInRegisters) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlots; ++i) {
        load_tokens(i, first + i * kStep);
      }
    }
    for (int base = first; base - 8 * (static_cast<int>(threadIdx.x) % 4) < in;
         base += kAhead * kStep) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kAhead; ++i) {
        const int k = base + i * kStep;
        const int slot = i % kSlots;
        if constexpr (!Tokens::kInRegisters) {
          load_tokens(0, k);
        }
        HOPSKIP_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const uint4& low = r_a[i][tile][0];
          const uint4& high = r_a[i][tile][1];
          const uint32_t a0[4] = {low.x, high.x, low.y, high.y};
          const uint32_t a1[4] = {low.z, high.z, low.w, high.w};
          HOPSKIP_UNROLL
          for (int group = 0; group < kGroups; ++group) {
            const uint4& b = r_b[slot][group];
            ptx::sm80::mma<__nv_bfloat16>(r_c[tile][group], a0, b.x, b.y);
            ptx::sm80::mma<__nv_bfloat16>(r_c[tile][group], a1, b.z, b.w);
          }
        }
        load_weights(i, k + kAhead * kStep);
        if constexpr (Tokens::kInRegisters) {
          load_tokens(slot, k + kSlots * kStep);
        }
      }
    }
  }

  // The whole product by the whole CTA; ends in step, the sums of all warps in `s`.
  template <typename Tokens>
  static __device__ void run(const Rows& rows, int in, Tokens tokens, Shared& s) {
    float r_c[kTiles][kGroups][4] = {};
    const int warp = threadIdx.x / 32;
    multiply(rows, in, tokens, warp, r_c);
    store(r_c, 1.0f, warp, s);
    __syncthreads();
  }

  static __device__ void store(const float (&r_c)[kTiles][kGroups][4], float factor, int warp,
                               Shared& s) {
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
    HOPSKIP_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      HOPSKIP_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        HOPSKIP_UNROLL
        for (int i = 0; i < 4; ++i) {
          s.sums[warp][8 * group + 2 * t + i % 2][16 * tile + g + 8 * (i / 2)] =
              factor * r_c[tile][group][i];
        }
      }
    }
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

// Up to 8 tokens on their way through an RMS norm: s_tokens gets x · weight in BF16, squares what
// the factor 1 / sqrt(mean of squares + eps) is made of. That factor is the same for all elements
// of a token, so it can wait until their products have been summed.
struct NormShared {
  float squares[8][kSkinnyWarps];
};
// x [tokens][in] F32 on lines of 16 bytes, in a multiple of 8; read from L2, for L1 may know it
// from before it was written. By kSkinnyThreads threads, which synchronise before anyone reads.
__device__ inline void stage_normed(const float* x, int64_t x_stride, const float* weight,
                                    int tokens, int in, __nv_bfloat16* s_tokens, NormShared& s) {
  for (int token = 0; token < tokens; ++token) {
    float squares = 0.0f;
    for (int k = threadIdx.x * kChunk; k < in; k += kSkinnyThreads * kChunk) {
      const auto* g = reinterpret_cast<const float4*>(x + token * x_stride + k);
      const float4 low = __ldcg(g);
      const float4 high = __ldcg(g + 1);
      float r[kChunk] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
      float w[kChunk];
      load_chunk(weight + k, kChunk, true, w);
      HOPSKIP_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        squares += r[i] * r[i];
        r[i] *= w[i];
      }
      store_chunk(s_tokens + token * (in + kSharedTokenPad) + k, kChunk, true, r);
    }
    squares = lanes_sum<32>(squares);
    if (threadIdx.x % 32 == 0) {
      s.squares[token][threadIdx.x / 32] = squares;
    }
  }
}
__device__ inline float norm_factor(const NormShared& s, int token, int in, float eps) {
  float squares = 0.0f;
  HOPSKIP_UNROLL
  for (int w = 0; w < kSkinnyWarps; ++w) {
    squares += s.squares[token][w];
  }
  return 1.0f / sqrtf(squares / static_cast<float>(in) + eps);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_SKINNY_PRODUCT_CUH_
