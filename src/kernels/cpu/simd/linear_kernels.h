// Inner loops of linear() for a few tokens, and the decoding of packed weights for many.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_LINEAR_KERNELS_H_
#define HOPSKIP_KERNELS_CPU_SIMD_LINEAR_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/simd/level.h"
#include "tensor/dtype.h"

namespace hopskip {

inline constexpr int kActivationBlock = 32;  // columns that share a scale
inline constexpr int kMaxDotTokens = 4;      // tokens that one call multiplies

// Tokens as 16-bit integers, x ≈ scale · q: weights come from memory at a fifth of the speed at
// which they could be multiplied, so the wider product costs nothing and its error is far below
// that of eight bits (relative to a block's largest value 2^−16 against 2^−8).
struct QuantizedRows {
  const int16_t* q = nullptr;    // [tokens][cols]
  const float* scale = nullptr;  // [tokens][cols / 32]
  const int32_t* sum = nullptr;  // Σ q of 16 columns: [tokens][cols / 16]
  int64_t cols = 0;
};

struct LinearKernels {
  // x [cols], a multiple of 32, to one row of QuantizedRows.
  void (*quantize)(const float* x, int64_t cols, int16_t* q, float* scale, int32_t* sum);
  // out [tokens][16] = x[token …] · panelᵀ, tokens ≤ kMaxDotTokens.
  using PanelDot = void (*)(const PackedFormat& format, const std::byte* panel,
                            const QuantizedRows& x, int64_t token, int tokens, float* out);
  PanelDot (*panel_dot)(const PackedFormat& format);
  // out [tokens] = x[t] · w, x rows `stride` apart, w [cols] of dtype f32, f16 or bf16.
  void (*plain_dot)(DType dtype, const void* w, const float* x, int64_t stride, int64_t cols,
                    int tokens, float* out);
  // Writes a panel as [cols][ld] with its 16 rows at out[0 … 15], in gemm_dtype.
  void (*unpack_panel)(const PackedFormat& format, const std::byte* panel, int64_t cols, void* out,
                       int64_t ld);
  // n values, from a scalar dtype to gemm_dtype.
  void (*convert)(DType from, const void* src, int64_t n, void* out);
  DType gemm_dtype;  // kBF16 or kF32: what matrices are multiplied in
};

const LinearKernels& linear_kernels(SimdLevel level);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_LINEAR_KERNELS_H_
