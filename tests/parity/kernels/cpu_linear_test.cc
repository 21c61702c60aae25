// linear() and embed() of the CPU backend against the reference, for every dtype and instruction
// set. The bound is twice the error of the obvious computation in the same precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/float16.h"
#include "kernels/cpu/linear.h"
#include "parity/kernels/cpu_case.h"
#include "support/step_of_tokens.h"
#include "tensor/quantize.h"

namespace hopskip::test {
namespace {

struct Case {
  std::string level;
  DType dtype;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& level : levels_here()) {
    for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                        DType::kQ4_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
      all.push_back({level, dtype});
    }
  }
  return all;
}

struct StoredWeight {
  StoredWeight(DType dtype, int64_t rows, int64_t cols, std::mt19937& random)
      : bytes(row_bytes(dtype, rows * cols)), view{bytes.data(), dtype, 2, {rows, cols}} {
    const std::vector<float> values = normal_values(rows * cols, random);
    quantize(dtype, values.data(), bytes.data(), rows * cols);
  }
  std::vector<std::byte> bytes;
  TensorView view;
};

float as_bf16(float x) { return static_cast<float>(bf16(x)); }

// Rounds a row as the operation may round its input: to bf16, or to 16 bits of each 32's largest.
void round_input(bool to_bf16, float* x, int64_t cols) {
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

// x · wᵀ (+ bias) (+ y) by plain float sums on inputs of the precision that `level` works in.
GuardedMatrix naive(const std::string& level, Matrix x, const StoredWeight& w, const float* bias,
                    const GuardedMatrix& start, bool accumulate) {
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
      out = sum + bias[o] + (accumulate ? out : 0.0f);
    }
  }
  return y;
}

class CpuLinearTest : public testing::TestWithParam<Case> {};

TEST_P(CpuLinearTest, MatchesReference) {
  const auto [level, dtype] = GetParam();
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto backend = cpu(level);
  const auto truth = reference();
  const int64_t unit = block_elements(dtype);
  for (int64_t cols : {unit == 1 ? int64_t{37} : unit, unit == 1 ? int64_t{192} : 3 * unit}) {
    for (int64_t tokens : {1, 2, 3, 15, 16, 17, 65, 300}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, " << cols << " columns");
      const GuardedMatrix x(tokens, cols, random);
      const StoredWeight weights[2] = {{dtype, tokens == 300 ? 130 : 50, cols, random},
                                       {dtype, 7, cols, random}};
      std::vector<std::vector<float>> biases;
      std::vector<GuardedMatrix> starts;
      std::vector<GuardedMatrix> results[2];  // CPU, reference
      std::vector<WeightPtr> loaded;
      std::vector<LinearTerm> terms[2];
      for (int i = 0; i < 2; ++i) {
        const int64_t rows = weights[i].view.shape[0];
        biases.push_back(normal_values(rows, random));
        starts.push_back(i == 0 ? GuardedMatrix(tokens, rows)
                                : GuardedMatrix(tokens, rows, random));
        results[0].push_back(starts[i]);
        results[1].push_back(starts[i]);
      }
      for (int i = 0; i < 2; ++i) {
        const TensorView bias{biases[i].data(), DType::kF32, 1, {std::ssize(biases[i])}};
        Backend* backends[] = {backend.get(), truth.get()};
        for (int b = 0; b < 2; ++b) {
          loaded.push_back(backends[b]->load(weights[i].view));
          const Weight* w = loaded.back().get();
          loaded.push_back(backends[b]->load(bias));
          terms[b].push_back({w, loaded.back().get(), results[b][i].get(), i == 1});
        }
      }
      backend->linear(x.get(), terms[0]);
      truth->linear(x.get(), terms[1]);
      for (int i = 0; i < 2; ++i) {
        const GuardedMatrix simple =
            naive(level, x.get(), weights[i], biases[i].data(), starts[i], i == 1);
        const double allowed = 2.0 * largest_error(simple.get(), results[1][i].get());
        // A computation of few terms can be exact by luck; one rounding of the result is allowed.
        EXPECT_LE(largest_error(results[0][i].get(), results[1][i].get()), allowed + 4e-6);
        EXPECT_TRUE(results[0][i].guards_untouched());
      }
    }
  }
}

TEST_P(CpuLinearTest, EmbedsRowsOfEveryDtype) {
  const auto [level, dtype] = GetParam();
  std::mt19937 random(std::random_device{}());
  const int64_t cols = 2 * block_elements(dtype) + (is_quantized(dtype) ? 0 : 5);
  const StoredWeight table(dtype, 37, cols, random);
  const auto backend = cpu(level);
  const auto truth = reference();
  const std::vector<int32_t> ids{0, 36, 5, 5, 16};
  const GuardedMatrix result(std::ssize(ids), cols);
  const GuardedMatrix expected(std::ssize(ids), cols);
  for (const auto& [where, out] :
       {std::pair{backend.get(), result.get()}, {truth.get(), expected.get()}}) {
    const StepOfTokens step(*where, ids, std::vector<int32_t>(ids.size()));
    where->embed(step.get(), *where->load(table.view), out);
  }
  // Products of scales in K formats are rounded to half precision: 2^-11 of values up to about 5.
  const bool exact = dtype != DType::kQ4_K && dtype != DType::kQ5_K && dtype != DType::kQ6_K;
  EXPECT_LE(largest_error(result.get(), expected.get()), exact ? 1e-6 : 5.0 / 1024);
  EXPECT_TRUE(result.guards_untouched());
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuLinearTest, testing::ValuesIn(cases()), [](const auto& info) {
  return info.param.level + "_" + std::string(dtype_name(info.param.dtype));
});

}  // namespace
}  // namespace hopskip::test
