#include "calibrate/fit.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr double kNeighbourhood = 0.15;
constexpr size_t kFewest = 2;

std::string describe(std::span<const SkipPoint> points) {
  std::string text;
  for (const SkipPoint& point : points) {
    text += fmt::format("{}{:.1f} % at {:g}", text.empty() ? "" : ", ", 100.0 * point.sparsity,
                        point.factor);
  }
  return text.empty() ? "nothing measured" : text;
}

const char* advice(std::span<const SkipPoint> points) {
  const auto all = [&](auto condition) {
    return std::all_of(points.begin(), points.end(), condition);
  };
  if (all([](const SkipPoint& point) { return point.sparsity < kMostFitted; })) {
    return "larger factors";
  }
  if (all([](const SkipPoint& point) { return point.sparsity > kLeastFitted; })) {
    return "smaller factors";
  }
  return "factors in between";
}

}  // namespace

SkipFit fit_factors(std::span<const SkipPoint> points, double target) {
  std::vector<SkipPoint> used;
  std::copy_if(points.begin(), points.end(), std::back_inserter(used), [](const SkipPoint& point) {
    return point.sparsity >= kLeastFitted && point.sparsity <= kMostFitted;
  });
  check(used.size() >= kFewest, ErrorCode::kInvalidArgument,
        "two factors have to skip {:g} to {:g} % of the tiles (skipped: {}): give {}",
        100.0 * kLeastFitted, 100.0 * kMostFitted, describe(points), advice(points));
  const auto weight = [&](const SkipPoint& point) {
    const double distance = (point.sparsity - target) / kNeighbourhood;
    return std::exp(-distance * distance);
  };
  double weights = 0.0;
  double mean_s = 0.0;
  double mean_log = 0.0;
  for (const SkipPoint& point : used) {
    weights += weight(point);
    mean_s += weight(point) * point.sparsity;
    mean_log += weight(point) * std::log(point.factor);
  }
  mean_s /= weights;
  mean_log /= weights;
  double variance = 0.0;
  double covariance = 0.0;
  for (const SkipPoint& point : used) {
    const double s = point.sparsity - mean_s;
    variance += weight(point) * s * s;
    covariance += weight(point) * s * (std::log(point.factor) - mean_log);
  }
  const double b = covariance / variance;
  check(std::isfinite(b) && b > 0.0, ErrorCode::kInvalidArgument,
        "the sparsity does not rise with the factor (skipped: {}): give factors further apart, or "
        "more text",
        describe(points));
  return {.a = std::exp(mean_log - b * mean_s), .b = b};
}

double expected_sparsity(const SkipFit& fit, double factor) {
  return std::clamp(std::log(factor / fit.a) / fit.b, 0.0, 1.0);
}

}  // namespace hopskip
