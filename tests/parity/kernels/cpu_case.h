// What the parity tests of the CPU operations share: levels, random matrices with guards, errors.
#ifndef HOPSKIP_TESTS_PARITY_KERNELS_CPU_CASE_H_
#define HOPSKIP_TESTS_PARITY_KERNELS_CPU_CASE_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/simd/level.h"

namespace hopskip::test {

inline std::vector<std::string> levels_here() {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(detect_simd_level()); ++i) {
    names.emplace_back(simd_level_name(static_cast<SimdLevel>(i)));
  }
  return names;
}

inline std::unique_ptr<Backend> cpu(const std::string& level) {
  return make_backend("cpu", {.threads = 2, .simd = level});
}
inline std::unique_ptr<Backend> reference() { return make_backend("reference", {.threads = 2}); }

inline std::vector<float> normal_values(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(random);
  }
  return values;
}

// [rows][cols] with guard values between the rows; everything starts as NaN.
class GuardedMatrix {
 public:
  GuardedMatrix(int64_t rows, int64_t cols, int64_t guard = 3)
      : values_(rows * (cols + guard), kPoison),
        matrix_{values_.data(), rows, cols, cols + guard} {}
  GuardedMatrix(int64_t rows, int64_t cols, std::mt19937& random) : GuardedMatrix(rows, cols) {
    const std::vector<float> normal = normal_values(rows * cols, random);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(&normal[r * cols], cols, matrix_.row(r));
    }
  }
  GuardedMatrix(const GuardedMatrix& other) : values_(other.values_), matrix_(other.matrix_) {
    matrix_.data = values_.data();
  }

  Matrix get() const { return matrix_; }
  bool guards_untouched() const {
    for (int64_t r = 0; r < matrix_.rows; ++r) {
      for (int64_t i = matrix_.cols; i < matrix_.stride; ++i) {
        if (!std::isnan(matrix_.row(r)[i])) {
          return false;
        }
      }
    }
    return true;
  }

 private:
  static constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values_;
  Matrix matrix_;
};

// Largest error(a, b) over all elements; infinite where one is not finite.
template <typename Error>
double largest(Matrix a, Matrix b, Error error) {
  double result = 0.0;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t i = 0; i < a.cols; ++i) {
      const double e = error(double{a.row(r)[i]}, double{b.row(r)[i]});
      if (!std::isfinite(e)) {
        return std::numeric_limits<double>::infinity();
      }
      result = std::max(result, e);
    }
  }
  return result;
}

inline double largest_error(Matrix a, Matrix b) {
  return largest(a, b, [](double x, double y) { return std::fabs(x - y); });
}

// Relative to values of at least `floor`.
inline double largest_relative_error(Matrix a, Matrix b, double floor) {
  return largest(
      a, b, [&](double x, double y) { return std::fabs(x - y) / std::max(std::fabs(y), floor); });
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_PARITY_KERNELS_CPU_CASE_H_
