// The obvious linear() in the precision that the CPU backend may work in: its error is the measure
// for that of the backend.
#ifndef HOPSKIP_TESTS_PARITY_KERNELS_CPU_LINEAR_CASE_H_
#define HOPSKIP_TESTS_PARITY_KERNELS_CPU_LINEAR_CASE_H_

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/float16.h"
#include "kernels/cpu/linear.h"
#include "parity/kernels/cpu_case.h"
#include "tensor/quantize.h"

namespace hopskip::test {

struct StoredWeight {
  StoredWeight(DType dtype, int64_t rows, int64_t cols, std::mt19937& random)
      : bytes(row_bytes(dtype, rows * cols)), view{bytes.data(), dtype, 2, {rows, cols}} {
    const std::vector<float> values = normal_values(rows * cols, random);
    quantize(dtype, values.data(), bytes.data(), rows * cols);
  }
  std::vector<std::byte> bytes;
  TensorView view;
};

inline float as_bf16(float x) { return static_cast<float>(bf16(x)); }

// Rounds a row as the operation may round its input: to bf16, or to 16 bits of each 32's largest.
inline void round_input(bool to_bf16, float* x, int64_t cols) {
  if (to_bf16) {
    std::transform(x, x + cols, x, as_bf16);
    return;
  }
  for (int64_t begin = 0; begin < cols; begin += kActivationBlock) {
    float largest = 0.0f;
    for (int64_t i = begin; i < begin + kActivationBlock; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
    }
    const float scale = largest / 32767.0f;
    for (int64_t i = begin; i < begin + kActivationBlock; ++i) {
      x[i] = std::nearbyint(x[i] / scale) * scale;
    }
  }
}

// x · wᵀ (+ bias, unless null) (+ y) by plain float sums on inputs of the precision that `level`
// works in.
inline GuardedMatrix naive_linear(const std::string& level, Matrix x, const StoredWeight& w,
                                  const float* bias, const GuardedMatrix& start, bool accumulate) {
  GuardedMatrix y = start;
  const bool gemm = x.rows >= CpuLinear::kGemmTokens;
  const bool to_bf16 = gemm && level == "avx512_bf16";
  ThreadPool pool(1);
  const PackedFormat* format = packed_format(w.view.dtype);
  std::vector<std::byte> packed;
  if (format != nullptr) {
    packed.resize(packed_bytes(*format, w.view.shape[0], x.cols));
    pack(pool, w.view.dtype, w.bytes.data(), w.view.shape[0], x.cols, packed.data());
  }
  std::vector<float> weights(x.cols);
  for (int64_t o = 0; o < w.view.shape[0]; ++o) {
    if (format != nullptr) {
      unpack_row(*format, packed.data(), o, x.cols, weights.data());
    } else {
      dequantize(w.view.dtype, w.bytes.data() + o * row_bytes(w.view.dtype, x.cols), weights.data(),
                 x.cols);
    }
    if (to_bf16) {
      std::transform(weights.begin(), weights.end(), weights.begin(), as_bf16);
    }
    for (int64_t t = 0; t < x.rows; ++t) {
      std::vector<float> input(x.row(t), x.row(t) + x.cols);
      if (to_bf16 || (!gemm && format != nullptr)) {
        round_input(to_bf16, input.data(), x.cols);
      }
      float sum = 0.0f;
      for (int64_t i = 0; i < x.cols; ++i) {
        sum += input[i] * weights[i];
      }
      float& out = y.get().row(t)[o];
      out = sum + (bias == nullptr ? 0.0f : bias[o]) + (accumulate ? out : 0.0f);
    }
  }
  return y;
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_PARITY_KERNELS_CPU_LINEAR_CASE_H_
