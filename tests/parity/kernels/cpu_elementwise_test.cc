// The row operations of the CPU backend against the reference, on every instruction set.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "parity/kernels/cpu_case.h"
#include "support/step_of_tokens.h"

namespace hopskip::test {
namespace {

constexpr double kFloatError = 0x1p-24;  // of one rounding, relative

class CpuElementwiseTest : public testing::TestWithParam<std::string> {
 protected:
  // Runs `operation` on both backends for tokens × columns. `bound` is relative to a value, or to
  // `floor` where that is larger.
  void compare(int64_t cols, double bound, double floor,
               const std::function<void(Backend&, Matrix, const Matrix&)>& operation) {
    const uint32_t seed = std::random_device()();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto backend = cpu(GetParam());
    const auto truth = reference();
    for (int64_t tokens : {1, 2, 3, 15, 16, 17, 65}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, " << cols << " columns");
      const GuardedMatrix x(tokens, cols, random);
      const GuardedMatrix result = x;
      const GuardedMatrix expected = x;
      const GuardedMatrix other(tokens, cols, random);
      operation(*backend, result.get(), other.get());
      operation(*truth, expected.get(), other.get());
      EXPECT_LE(largest_relative_error(result.get(), expected.get(), floor), bound);
      EXPECT_TRUE(result.guards_untouched());
    }
  }
};

TEST_P(CpuElementwiseTest, RmsNorm) {
  for (int64_t cols : {1, 37, 576}) {
    std::mt19937 random(7);
    const std::vector<float> scale = normal_values(cols, random);
    const TensorView view{scale.data(), DType::kF32, 1, {cols}};
    // Three roundings: the sum and its root, two products.
    compare(cols, 2.0 * 3.0 * kFloatError, 1e-20, [&](Backend& backend, Matrix x, const Matrix&) {
      backend.rms_norm(x, *backend.load(view), 1e-5f, x);
    });
  }
}

TEST_P(CpuElementwiseTest, RopeInBothLayouts) {
  for (bool interleaved : {false, true}) {
    for (int rotated : {12, 20}) {
      Rope rope{.inv_freq = {}, .magnitude = 1.25f, .interleaved = interleaved};
      for (int i = 0; i < rotated / 2; ++i) {
        rope.inv_freq.push_back(std::pow(10000.0f, -2.0f * static_cast<float>(i) / rotated));
      }
      // Each product of up to 4.5 · 1.25 and their sum rounds, as do cosine and sine.
      compare(3 * 20, 2.0 * 4.0 * kFloatError, 6.0, [&](Backend& backend, Matrix x, const Matrix&) {
        std::vector<int32_t> positions(x.rows);
        for (int64_t t = 0; t < x.rows; ++t) {
          positions[t] = static_cast<int32_t>(7000 + 13 * t);
        }
        const StepOfTokens step(backend, positions, positions);
        backend.rope(step.get(), x, 20, rope);
      });
    }
  }
}

// Angles are remembered between calls: other positions and other frequencies must not meet them.
TEST_P(CpuElementwiseTest, RopeForgetsOldAngles) {
  const Rope slow{.inv_freq = {0.1f, 0.01f}};
  const Rope fast{.inv_freq = {1.0f, 0.5f}};
  compare(4, 2.0 * 12.0 * kFloatError, 6.0, [&](Backend& backend, Matrix x, const Matrix&) {
    std::vector<int32_t> positions(x.rows, 3);
    const StepOfTokens first(backend, positions, positions);
    backend.rope(first.get(), x, 4, slow);
    backend.rope(first.get(), x, 4, fast);
    positions.back() = 4;
    const StepOfTokens second(backend, positions, positions);
    backend.rope(second.get(), x, 4, fast);
  });
}

TEST_P(CpuElementwiseTest, SiluMul) {
  for (int64_t cols : {1, 37, 1536}) {
    // Five roundings: the exponential has two, then sum, quotient and product.
    compare(cols, 2.0 * 5.0 * kFloatError, 1e-20,
            [&](Backend& backend, Matrix x, const Matrix& up) {
              x.row(0)[0] = -200.0f;  // e^200 is beyond float
              backend.silu_mul(x, up, x);
            });
  }
}

TEST_P(CpuElementwiseTest, GatherRows) {
  compare(37, 0.0, 1.0, [&](Backend& backend, Matrix x, const Matrix& from) {
    std::vector<int64_t> rows;
    for (int64_t t = 0; t < x.rows; t += 1 + t % 3) {
      rows.push_back(t);
    }
    const std::vector<int32_t> tokens(x.rows);
    const StepOfTokens step(backend, tokens, tokens, rows);
    backend.gather_rows(step.get(), from, x.row_range(0, std::ssize(rows)));
  });
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuElementwiseTest, testing::ValuesIn(levels_here()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace hopskip::test
