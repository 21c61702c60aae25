// From measured sparsities to the two numbers of a profile.
#ifndef HOPSKIP_CALIBRATE_FIT_H_
#define HOPSKIP_CALIBRATE_FIT_H_

#include <span>

#include "attention/profile.h"

namespace hopskip {

struct SkipPoint {
  double factor = 0.0;    // > 0
  double sparsity = 0.0;  // measured at that factor
};

// The law log(factor) = log(a) + b · sparsity holds in the middle: near no and near all tiles the
// curve bends away, so points outside of this range take no part.
inline constexpr double kLeastFitted = 0.05;
inline constexpr double kMostFitted = 0.95;

// Least squares in log(factor). A point weighs exp(−((sparsity − target) / 0.15)²): the law is an
// approximation, and the target is where it has to be good. Throws InvalidArgument, naming the
// points and what factors to try instead, where fewer than two are in range or they do not rise.
SkipFit fit_factors(std::span<const SkipPoint> points, double target);

// The inverse: what the fit expects a factor to skip.
double expected_sparsity(const SkipFit& fit, double factor);

}  // namespace hopskip

#endif  // HOPSKIP_CALIBRATE_FIT_H_
