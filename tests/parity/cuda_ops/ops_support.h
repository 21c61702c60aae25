// Host and device rows of irregular layout, poisoned where nothing may be read or written, and the
// judge of results.
#ifndef HOPSKIP_TESTS_PARITY_CUDA_OPS_OPS_SUPPORT_H_
#define HOPSKIP_TESTS_PARITY_CUDA_OPS_OPS_SUPPORT_H_

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/float16.h"
#include "hopskip/attention.h"

namespace hopskip::test {

inline void require_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(fmt::format("{}: {}", what, cudaGetErrorString(error)));
  }
}

// Memory of the GPU that holds `values`.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : count_(values.size()) {
    require_cuda(cudaMalloc(&data_, count_ * sizeof(T) + 1), "allocate");
    require_cuda(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice),
                 "upload");
  }
  // Bytes of ones: NaN in every floating-point type, −1 in every integer.
  explicit DeviceArray(size_t count) : DeviceArray(poison(count)) {}
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(data_); }
  std::vector<T> download() const {
    std::vector<T> values(count_);
    require_cuda(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost),
                 "run and download");
    return values;
  }
  static std::vector<T> poison(size_t count) {
    std::vector<T> values(count);
    std::memset(static_cast<void*>(values.data()), 0xff, count * sizeof(T));
    return values;
  }

 private:
  void* data_ = nullptr;
  size_t count_;
};

// rows x cols elements, rows cols + gap apart, the first `shift` elements behind an aligned
// address. Everything else is poison.
struct Layout {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t gap = 0;
  int64_t shift = 0;

  int64_t stride() const { return cols + gap; }
  int64_t place(int64_t row, int64_t col) const { return shift + row * stride() + col; }
  size_t size() const { return shift + rows * stride() + 64; }
};

template <typename T>
struct Rows {
  Layout layout;
  std::vector<T> values;

  explicit Rows(const Layout& l) : layout(l), values(DeviceArray<T>::poison(l.size())) {}
  T& at(int64_t row, int64_t col) { return values[layout.place(row, col)]; }
  double get(int64_t row, int64_t col) const {
    return static_cast<float>(values[layout.place(row, col)]);
  }
};

template <typename T>
Rows<T> normal_rows(const Layout& layout, std::mt19937_64& random, float deviation = 1.0f) {
  Rows<T> rows(layout);
  std::normal_distribution<float> normal(0.0f, deviation);
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t col = 0; col < layout.cols; ++col) {
      rows.at(row, col) = T(normal(random));
    }
  }
  return rows;
}

// The device's copy of rows.
template <typename T>
struct DeviceRows {
  Layout layout;
  DeviceArray<T> array;

  explicit DeviceRows(const Rows<T>& rows) : layout(rows.layout), array(rows.values) {}
  explicit DeviceRows(const Layout& l) : layout(l), array(l.size()) {}
  T* data() const { return array.data() + layout.shift; }
  // What is there now; fails the test where poison around the rows was overwritten.
  Rows<T> download() const {
    Rows<T> rows(layout);
    rows.values = array.download();
    Rows<T> around = rows;
    for (int64_t row = 0; row < layout.rows; ++row) {
      std::memset(static_cast<void*>(around.values.data() + layout.place(row, 0)), 0xff,
                  layout.cols * sizeof(T));
    }
    EXPECT_EQ(std::memcmp(around.values.data(), DeviceArray<T>::poison(layout.size()).data(),
                          layout.size() * sizeof(T)),
              0)
        << "memory around the rows was written";
    return rows;
  }
};

// Twice the largest error of rounding `value` to a significand of `bits` bits: its last place.
inline double last_place(double value, int bits) {
  return value == 0.0 ? 0.0 : std::ldexp(1.0, std::ilogb(value) + 1 - bits);
}
inline double bf16_bound(double value) { return last_place(value, 8); }
inline double f32_bound(double value) { return last_place(value, 24); }

// Collects differences; `problem()` is empty where none is beyond its bound.
class Judge {
 public:
  void compare(double got, double want, double bound, int64_t row, int64_t col) {
    ++elements_;
    const double error = std::abs(got - want);
    if (!(error <= bound)) {  // NaN is wrong, too
      if (wrong_++ == 0) {
        first_ = fmt::format("[{}][{}] is {} instead of {} ± {:.3g}", row, col, got, want, bound);
      }
    }
  }
  std::string problem() const {
    return wrong_ == 0 ? "" : fmt::format("{} of {} are wrong: {}", wrong_, elements_, first_);
  }

 private:
  int64_t elements_ = 0;
  int64_t wrong_ = 0;
  std::string first_;
};

// Skips without a GPU. Fresh inputs in every run; the printed seed tells them.
class OpsTest : public testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
      cudaGetLastError();
      GTEST_SKIP() << "no GPU";
    }
    fmt::print("  seed {}\n", seed_);
  }
  // Of the first GPU, on which the tests run.
  static bool is_hopper() { return list_gpus().front().compute_capability == 90; }
  int64_t integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_PARITY_CUDA_OPS_OPS_SUPPORT_H_
