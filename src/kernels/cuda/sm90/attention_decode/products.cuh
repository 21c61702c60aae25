// The matrix products of a decode warp: 16 query heads with a slice of 16 keys. FP8 operands become
// FP16 on the way from shared memory to the fragments.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_PRODUCTS_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_PRODUCTS_CUH_

#include <cstdint>

#include "kernels/cuda/common/fp8.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/ptx/sm80.cuh"
#include "kernels/cuda/sm90/attention_decode/types.cuh"

namespace hopskip::cuda::sm90 {

template <typename Q, typename Kv, int kHeadDim>
struct DecodeProducts {
  using Types = DecodeTypes<Q, Kv, kHeadDim>;
  using Operand = typename Types::Operand;
  static constexpr bool kFp8 = Types::kFp8;
  static constexpr int kRowBytes = Types::kRowBytes;
  static constexpr int kSteps = Types::kSteps;

  // Raw scores of 16 keys: score[n] is the C fragment of keys 8 n … 8 n + 7.
  static __device__ void score_slice(const uint32_t (&r_q)[kSteps][4], uint32_t stage, int slice,
                                     int lane, float (&score)[2][4]) {
    HOPSKIP_UNROLL
    for (int n = 0; n < 2; ++n) {
      HOPSKIP_UNROLL
      for (int e = 0; e < 4; ++e) {
        score[n][e] = 0.0f;
      }
    }
    const int matrix = lane / 8;
    if constexpr (kFp8) {
      const int key = slice * kDecodeSliceKeys + matrix % 2 * 8 + lane % 8;
      HOPSKIP_UNROLL
      for (int pair = 0; pair < kSteps / 2; ++pair) {
        uint32_t r[4];
        ptx::sm80::ldmatrix(r, Types::swizzled(stage, key, 2 * pair + matrix / 2));
        HOPSKIP_UNROLL
        for (int i = 0; i < 4; ++i) {
          ptx::sm80::mma<Operand>(score[i % 2], r_q[2 * pair + i / 2],
                                  e4m3_pair_to_f16x2<0, 1>(r[i], 0),
                                  e4m3_pair_to_f16x2<2, 3>(r[i], 0));
        }
      }
    } else {
      const int key = slice * kDecodeSliceKeys + matrix / 2 * 8 + lane % 8;
      HOPSKIP_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        uint32_t r[4];
        ptx::sm80::ldmatrix(r, Types::swizzled(stage, key, 2 * step + matrix % 2));
        ptx::sm80::mma<Operand>(score[0], r_q[step], r[0], r[1]);
        ptx::sm80::mma<Operand>(score[1], r_q[step], r[2], r[3]);
      }
    }
  }

  // r_o += P · V of a slice.
  static __device__ void add_slice(const uint32_t (&weights)[4], uint32_t stage, int slice,
                                   int lane, float (&r_o)[kHeadDim / 8][4]) {
    const int matrix = lane / 8;
    const int key = slice * kDecodeSliceKeys + matrix % 2 * 8 + lane % 8;
    constexpr int kChunks = kRowBytes / 16;
    HOPSKIP_UNROLL
    for (int pair = 0; pair < kChunks / 2; ++pair) {
      uint32_t r[4];
      ptx::sm80::ldmatrix_transposed(r, Types::swizzled(stage, key, 2 * pair + matrix / 2));
      if constexpr (kFp8) {
        // A register holds columns d, d + 1 of one key and of the next.
        HOPSKIP_UNROLL
        for (int i = 0; i < 2; ++i) {
          ptx::sm80::mma<Operand>(r_o[4 * pair + 2 * i], weights,
                                  e4m3_pair_to_f16x2<0, 2>(r[2 * i], 0),
                                  e4m3_pair_to_f16x2<0, 2>(r[2 * i + 1], 0));
          ptx::sm80::mma<Operand>(r_o[4 * pair + 2 * i + 1], weights,
                                  e4m3_pair_to_f16x2<1, 3>(r[2 * i], 0),
                                  e4m3_pair_to_f16x2<1, 3>(r[2 * i + 1], 0));
        }
      } else {
        ptx::sm80::mma<Operand>(r_o[2 * pair], weights, r[0], r[1]);
        ptx::sm80::mma<Operand>(r_o[2 * pair + 1], weights, r[2], r[3]);
      }
    }
  }

  // Where r_o[j][2 h + e] belongs.
  static __device__ int column(int lane, int j, int e) {
    return kFp8 ? j / 2 * 16 + 4 * (lane % 4) + 2 * e + j % 2 : 8 * j + 2 * (lane % 4) + e;
  }
};

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_PRODUCTS_CUH_
