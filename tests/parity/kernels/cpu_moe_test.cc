// moe() of the CPU backend against the reference. The bound is twice the error of the obvious
// computation in the same precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "parity/kernels/cpu_case.h"
#include "parity/kernels/cpu_linear_case.h"

namespace hopskip::test {
namespace {

constexpr int64_t kExperts = 7;
constexpr int64_t kTopK = 3;

struct Case {
  std::string level;
  DType dtype;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& level : levels_here()) {
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_K}) {
      all.push_back({level, dtype});
    }
  }
  return all;
}

// The experts of one layer, as stored and as a backend has them.
struct Experts {
  Experts(DType dtype, int64_t hidden, int64_t inner, std::mt19937& random) {
    for (int64_t e = 0; e < kExperts; ++e) {
      gate.emplace_back(dtype, inner, hidden, random);
      up.emplace_back(dtype, inner, hidden, random);
      down.emplace_back(dtype, hidden, inner, random);
    }
  }
  std::vector<StoredWeight> gate, up, down;
};

struct LoadedExperts {
  LoadedExperts(Backend& backend, const Experts& experts)
      : gate(load(backend, experts.gate)),
        up(load(backend, experts.up)),
        down(load(backend, experts.down)) {}
  static WeightPtr load(Backend& backend, const std::vector<StoredWeight>& weights) {
    std::vector<TensorView> views;
    for (const StoredWeight& weight : weights) {
      views.push_back(weight.view);
    }
    return backend.load_experts(views);
  }
  ExpertWeights get() const { return {gate.get(), up.get(), down.get()}; }
  WeightPtr gate, up, down;
};

float weight_of(const float* logits, int64_t expert, const std::vector<int64_t>& chosen,
                bool normalize) {
  float sum = 0.0f;
  for (int64_t e = 0; e < kExperts; ++e) {
    if (!normalize || std::ranges::count(chosen, e) > 0) {
      sum += std::exp(logits[e]);
    }
  }
  return std::exp(logits[expert]) / sum;
}

std::vector<int64_t> chosen_experts(const float* logits) {
  std::vector<int64_t> order(kExperts);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return logits[a] > logits[b]; });
  order.resize(kTopK);
  return order;
}

// Expert by expert, each for all of its tokens, in floats.
GuardedMatrix naive_moe(const std::string& level, Matrix x, Matrix logits, const Experts& experts,
                        bool normalize, const GuardedMatrix& start) {
  GuardedMatrix result = start;
  for (int64_t e = 0; e < kExperts; ++e) {
    std::vector<int64_t> tokens;
    for (int64_t t = 0; t < x.rows; ++t) {
      if (std::ranges::count(chosen_experts(logits.row(t)), e) > 0) {
        tokens.push_back(t);
      }
    }
    const int64_t count = std::ssize(tokens);
    const int64_t inner = experts.gate[e].view.shape[0];
    const GuardedMatrix input(count, x.cols);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(x.row(tokens[i]), x.cols, input.get().row(i));
    }
    const GuardedMatrix empty(count, inner);
    const GuardedMatrix gate =
        naive_linear(level, input.get(), experts.gate[e], nullptr, empty, false);
    const GuardedMatrix up = naive_linear(level, input.get(), experts.up[e], nullptr, empty, false);
    for (int64_t i = 0; i < count; ++i) {
      float* g = gate.get().row(i);
      for (int64_t j = 0; j < inner; ++j) {
        g[j] = g[j] / (1.0f + std::exp(-g[j])) * up.get().row(i)[j];
      }
    }
    const GuardedMatrix out =
        naive_linear(level, gate.get(), experts.down[e], nullptr, input, false);
    for (int64_t i = 0; i < count; ++i) {
      const float* row = logits.row(tokens[i]);
      const float weight = weight_of(row, e, chosen_experts(row), normalize);
      for (int64_t j = 0; j < x.cols; ++j) {
        result.get().row(tokens[i])[j] += weight * out.get().row(i)[j];
      }
    }
  }
  return result;
}

class CpuMoeTest : public testing::TestWithParam<Case> {};

TEST_P(CpuMoeTest, MatchesReference) {
  const auto [level, dtype] = GetParam();
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto backend = cpu(level);
  const auto truth = reference();
  const int64_t unit = block_elements(dtype);
  const int64_t hidden = unit == 1 ? 37 : std::max<int64_t>(unit, 64);
  const int64_t inner = unit == 1 ? 24 : unit;  // without blocks no multiple of a panel's rows
  const Experts experts(dtype, hidden, inner, random);
  const LoadedExperts own(*backend, experts);
  const LoadedExperts exact(*truth, experts);
  EXPECT_EQ(own.gate->rows(), kExperts * inner);
  EXPECT_EQ(own.down->cols(), inner);
  for (int64_t tokens : {1, 2, 20, 33, 100}) {  // up to and beyond matrix products for some, or all
    for (bool normalize : {false, true}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, normalize " << normalize);
      const GuardedMatrix x(tokens, hidden, random);
      const GuardedMatrix logits(tokens, kExperts, random);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t e = 0; e < kExperts; ++e) {
          float& logit = logits.get().row(t)[e];
          logit = std::round(2.0f * logit) / 2.0f;  // many are equal
          if (t % 2 == 0) {
            logit += static_cast<float>(e == 5) * 4.0f;  // and many tokens go to one expert
          }
        }
      }
      const GuardedMatrix start(tokens, hidden, random);
      const GuardedMatrix result = start;
      const GuardedMatrix expected = start;
      const MoeRouting routing{kTopK, normalize};
      backend->moe(x.get(), logits.get(), own.get(), routing, result.get());
      truth->moe(x.get(), logits.get(), exact.get(), routing, expected.get());
      const GuardedMatrix simple =
          naive_moe(level, x.get(), logits.get(), experts, normalize, start);
      const double size = largest(expected.get(), expected.get(),
                                  [](double value, double) { return std::fabs(value); });
      const double allowed = 2.0 * largest_error(simple.get(), expected.get());
      // A computation of few terms can be exact by luck; some roundings of the result are allowed.
      EXPECT_LE(largest_error(result.get(), expected.get()), allowed + 4e-7 * size);
      EXPECT_TRUE(result.guards_untouched());
    }
  }
}

// What a broken model computes is no number, but it is no crash either.
TEST_P(CpuMoeTest, LogitsThatAreNoNumbersChooseSomeExpert) {
  const auto [level, dtype] = GetParam();
  std::mt19937 random(7);
  const auto backend = cpu(level);
  const int64_t size = std::max<int64_t>(64, block_elements(dtype));
  const Experts experts(dtype, size, size, random);
  const LoadedExperts own(*backend, experts);
  const GuardedMatrix x(2, size, random);
  const GuardedMatrix logits(2, kExperts);  // NaN
  logits.get().row(1)[3] = std::numeric_limits<float>::infinity();
  const GuardedMatrix result(2, size, random);
  backend->moe(x.get(), logits.get(), own.get(), {kTopK, true}, result.get());
  EXPECT_TRUE(std::isnan(result.get().row(0)[0]));
  EXPECT_TRUE(result.guards_untouched());
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuMoeTest, testing::ValuesIn(cases()), [](const auto& info) {
  return info.param.level + "_" + std::string(dtype_name(info.param.dtype));
});

}  // namespace
}  // namespace hopskip::test
