// A slice of decode: 16 keys of one KV head in shared memory, and the two matrix products with it.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_SLICE_CUH_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_SLICE_CUH_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/common/fp8.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/ptx/sm80.cuh"
#include "kernels/cuda/sm80/attention_decode/config.h"

namespace hopskip::cuda::sm80 {

namespace ptx = hopskip::ptx::sm80;

struct Fp8 {
  uint8_t bits;
};

// Q: type of queries and outputs. Kv: type of K and V, Q or Fp8. Lane 4 g + t holds query heads g +
// 8 h (h = 0, 1) of the group, and of each 8 keys or columns numbers 2 t and 2 t + 1: element
// [2 h + u] of a fragment is number 2 t + u.
template <typename Q, typename Kv, int kHeadDim>
struct DecodeSlice {
  static constexpr bool kFp8 = std::is_same_v<Kv, Fp8>;
  using Operand = std::conditional_t<kFp8, __half, Q>;  // of the products
  static constexpr int kRowBytes = kHeadDim * static_cast<int>(sizeof(Kv));
  static constexpr int kRowChunks = kRowBytes / 16;
  static constexpr int kBytes = kDecodeSliceKeys * kRowBytes;
  static constexpr int kSteps = kHeadDim / 16;  // of the scores' product
  static_assert(kHeadDim % 64 == 0 && kRowChunks <= 32 && kDecodeSliceKeys == 16);

  // The place of a 16-byte chunk of a key: 8 keys' same chunk, and a key's 8 chunks, cover all
  // banks once.
  static __device__ uint32_t place(int key, int chunk) {
    const int flip = kRowBytes >= 128 ? key & 7 : key >> 1 & 3;
    return key * kRowBytes + (chunk ^ flip) * 16;
  }

  // The first of the two columns of the query that a lane holds in register [2 · half + h] of a
  // step. The columns of a product may come in any order that both operands share; with FP8 a lane
  // finds four neighbours in a register of K.
  static __device__ int query_column(int step, int half, int lane) {
    return step * 16 + (kFp8 ? lane % 4 * 4 + half * 2 : lane % 4 * 2 + half * 8);
  }

  // Which column of the output r_o[j][2 h + u] is.
  static __device__ int column(int j, int u, int lane) {
    return kFp8 ? j / 2 * 16 + lane % 4 * 4 + 2 * u + j % 2 : j * 8 + lane % 4 * 2 + u;
  }

  // scores = Q · Kᵀ, of keys 0-7, then 8-15.
  static __device__ void score(uint32_t s_slice, const uint32_t (&r_q)[kSteps][4], int lane,
                               float (&scores)[2][4]) {
    HOPSKIP_UNROLL
    for (int e = 0; e < 4; ++e) {
      scores[0][e] = scores[1][e] = 0.0f;
    }
    const int matrix = lane / 8;
    uint32_t b[4];
    if constexpr (kFp8) {  // matrices: keys 0-7, 8-15 of one chunk, then of the next
      const int key = matrix % 2 * 8 + lane % 8;
      HOPSKIP_UNROLL
      for (int step = 0; step < kSteps; step += 2) {
        ptx::ldmatrix(b, s_slice + place(key, step + matrix / 2));
        HOPSKIP_UNROLL
        for (int i = 0; i < 4; ++i) {
          ptx::mma<Operand>(scores[i % 2], r_q[step + i / 2], e4m3_pair_to_f16x2<0, 1>(b[i], 0),
                            e4m3_pair_to_f16x2<2, 3>(b[i], 0));
        }
      }
    } else {  // matrices: two chunks of keys 0-7, then of keys 8-15
      const int key = matrix / 2 * 8 + lane % 8;
      HOPSKIP_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        ptx::ldmatrix(b, s_slice + place(key, 2 * step + matrix % 2));
        ptx::mma<Operand>(scores[0], r_q[step], b[0], b[1]);
        ptx::mma<Operand>(scores[1], r_q[step], b[2], b[3]);
      }
    }
  }

  // This lane's part of the maximum of row h.
  static __device__ float part_max(const float (&scores)[2][4], int h) {
    return fmaxf(fmaxf(scores[0][2 * h], scores[0][2 * h + 1]),
                 fmaxf(scores[1][2 * h], scores[1][2 * h + 1]));
  }

  // r_o += P · V.
  static __device__ void multiply(uint32_t s_slice, const uint32_t (&r_p)[4], int lane,
                                  float (&r_o)[kHeadDim / 8][4]) {
    const int matrix = lane / 8;
    const int key = matrix % 2 * 8 + lane % 8;
    HOPSKIP_UNROLL
    for (int chunk = 0; chunk < kRowChunks; chunk += 2) {
      uint32_t b[4];  // matrices: keys 0-7, 8-15 of one chunk, then of the next
      ptx::ldmatrix_transposed(b, s_slice + place(key, chunk + matrix / 2));
      if constexpr (kFp8) {  // a register: two columns of one key, then of the next
        HOPSKIP_UNROLL
        for (int c = 0; c < 2; ++c) {
          float(&even)[4] = r_o[2 * (chunk + c)];
          float(&odd)[4] = r_o[2 * (chunk + c) + 1];
          ptx::mma<Operand>(even, r_p, e4m3_pair_to_f16x2<0, 2>(b[2 * c], 0),
                            e4m3_pair_to_f16x2<0, 2>(b[2 * c + 1], 0));
          ptx::mma<Operand>(odd, r_p, e4m3_pair_to_f16x2<1, 3>(b[2 * c], 0),
                            e4m3_pair_to_f16x2<1, 3>(b[2 * c + 1], 0));
        }
      } else {
        ptx::mma<Operand>(r_o[chunk], r_p, b[0], b[1]);
        ptx::mma<Operand>(r_o[chunk + 1], r_p, b[2], b[3]);
      }
    }
  }
};

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_SLICE_CUH_
