// linear() and embed() of the CPU backend against the reference, for every dtype and instruction
// set. The bound is twice the error of the obvious computation in the same precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "parity/kernels/cpu_case.h"
#include "parity/kernels/cpu_linear_case.h"
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
            naive_linear(level, x.get(), weights[i], biases[i].data(), starts[i], i == 1);
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
