#include "calibrate/fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/error_matchers.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

std::vector<SkipPoint> points_on(const SkipFit& fit, const std::vector<double>& sparsities) {
  std::vector<SkipPoint> points;
  for (double s : sparsities) {
    points.push_back({fit.a * std::exp(fit.b * s), s});
  }
  return points;
}

TEST(FitTest, RecoversThePublishedFits) {
  for (const SkipFit& published : {SkipFit{7.93, 8.61}, SkipFit{0.12, 9.85}}) {
    for (double target : {0.1, 0.5, 0.9}) {
      const SkipFit fit = fit_factors(points_on(published, {0.1, 0.3, 0.5, 0.7, 0.9}), target);
      EXPECT_NEAR(fit.a, published.a, 1e-6 * published.a);
      EXPECT_NEAR(fit.b, published.b, 1e-6 * published.b);
    }
  }
  EXPECT_NEAR(points_on({7.93, 8.61}, {0.5})[0].factor, 587, 1.0);  // as published
}

TEST(FitTest, TheNeighbourhoodOfTheTargetDecides) {
  // A curve that bends: slope 4 below one half, 12 above it.
  const std::vector<SkipPoint> bent{{std::exp(4 * 0.1), 0.1},      {std::exp(4 * 0.2), 0.2},
                                    {std::exp(4 * 0.3), 0.3},      {std::exp(2 + 12 * 0.2), 0.7},
                                    {std::exp(2 + 12 * 0.3), 0.8}, {std::exp(2 + 12 * 0.4), 0.9}};
  EXPECT_NEAR(fit_factors(bent, 0.2).b, 4.0, 0.2);
  EXPECT_NEAR(fit_factors(bent, 0.8).b, 12.0, 0.2);
}

TEST(FitTest, PointsAtTheEndsTakeNoPart) {
  std::vector<SkipPoint> points = points_on({2.0, 5.0}, {0.2, 0.4, 0.6});
  points.push_back({1e-9, 0.04});
  points.push_back({1e9, 0.96});
  const SkipFit fit = fit_factors(points, 0.9);
  EXPECT_NEAR(fit.a, 2.0, 1e-6);
  EXPECT_NEAR(fit.b, 5.0, 1e-6);
}

TEST(FitTest, ExpectedSparsityIsTheInverse) {
  const SkipFit fit{7.93, 8.61};
  EXPECT_NEAR(expected_sparsity(fit, 587), 0.5, 1e-3);
  EXPECT_EQ(expected_sparsity(fit, 1.0), 0.0);
  EXPECT_EQ(expected_sparsity(fit, 1e9), 1.0);
}

TEST(FitTest, RefusesTooFewPoints) {
  EXPECT_ERROR(kInvalid, "nothing measured", fit_factors({}, 0.5));
  const std::vector<SkipPoint> low{{1, 0.0}, {10, 0.01}, {100, 0.2}};
  EXPECT_ERROR(kInvalid, "0.0 % at 1, 1.0 % at 10, 20.0 % at 100): give larger factors",
               fit_factors(low, 0.5));
  const std::vector<SkipPoint> high{{100, 0.97}, {300, 0.99}};
  EXPECT_ERROR(kInvalid, "give smaller factors", fit_factors(high, 0.5));
  const std::vector<SkipPoint> both{{1, 0.01}, {300, 0.99}};
  EXPECT_ERROR(kInvalid, "give factors in between", fit_factors(both, 0.5));
}

TEST(FitTest, RefusesPointsThatDoNotRise) {
  const std::vector<SkipPoint> falling{{1, 0.6}, {10, 0.5}, {100, 0.4}};
  EXPECT_ERROR(kInvalid, "does not rise", fit_factors(falling, 0.5));
  const std::vector<SkipPoint> level{{1, 0.5}, {10, 0.5}};
  EXPECT_ERROR(kInvalid, "does not rise", fit_factors(level, 0.5));
}

}  // namespace
}  // namespace hopskip
