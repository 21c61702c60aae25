// What the tests of the CUDA backend share: the device, matrices on it, errors.
#ifndef HOPSKIP_TESTS_PARITY_CUDA_BACKEND_BACKEND_SUPPORT_H_
#define HOPSKIP_TESTS_PARITY_CUDA_BACKEND_BACKEND_SUPPORT_H_

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

#include "base/float16.h"
#include "hopskip/attention.h"
#include "kernels/backend.h"
#include "kernels/cuda/backend/entry.h"
#include "support/rounding_backend.h"

namespace hopskip::test {

inline void require_cuda(cudaError_t error) {
  if (error != cudaSuccess) {
    throw std::runtime_error(cudaGetErrorString(error));
  }
}

inline std::vector<float> normal_values(int64_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return normal(random); });
  return values;
}

// The same, exact in BF16.
inline std::vector<float> bf16_values(int64_t count, std::mt19937_64& random) {
  std::vector<float> values = normal_values(count, random);
  std::ranges::transform(values, values.begin(), round_bf16);
  return values;
}

// A matrix of `values` [rows][cols] in the workspace of a GPU backend.
inline Matrix upload(Backend& backend, std::span<const float> values, int64_t cols,
                     MatrixKind kind) {
  const Matrix x = backend.allocate(std::ssize(values) / cols, cols, kind);
  require_cuda(cudaDeviceSynchronize());  // the memory may have had another use
  if (kind == MatrixKind::kExact) {
    require_cuda(cudaMemcpy(x.data, values.data(), values.size_bytes(), cudaMemcpyHostToDevice));
  } else {
    std::vector<bf16> rounded;
    for (float value : values) {
      rounded.emplace_back(value);
    }
    require_cuda(
        cudaMemcpy(x.data, rounded.data(), values.size() * sizeof(bf16), cudaMemcpyHostToDevice));
  }
  require_cuda(cudaDeviceSynchronize());
  return x;
}

// [rows][cols] of a matrix whose rows are adjacent.
inline std::vector<float> download(Matrix x) {
  require_cuda(cudaDeviceSynchronize());
  std::vector<float> values(x.rows * x.cols);
  if (x.dtype == DType::kF32) {
    require_cuda(
        cudaMemcpy(values.data(), x.data, values.size() * sizeof(float), cudaMemcpyDeviceToHost));
  } else {
    std::vector<bf16> stored(values.size());
    require_cuda(
        cudaMemcpy(stored.data(), x.data, values.size() * sizeof(bf16), cudaMemcpyDeviceToHost));
    std::ranges::transform(stored, values.begin(),
                           [](bf16 value) { return static_cast<float>(value); });
  }
  return values;
}

// Infinite where something is not finite.
template <typename A, typename B>
double largest_error(const A& a, const B& b) {
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(double{a[i]} - double{b[i]});
    largest = error <= largest ? largest : std::isfinite(error) ? error : INFINITY;
  }
  return largest;
}

// Root mean square; not finite where a difference is not.
inline double rms_error(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
  }
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// Skips without a GPU; a GPU on which the backend does not run is a failure. Fresh inputs in every
// run; the printed seed tells them.
class CudaBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    if (list_gpus().empty()) {
      GTEST_SKIP() << "no GPU";
    }
    ASSERT_EQ(why_no_cuda_backend({}), "");
    fmt::print("  seed {}\n", seed_);
    backend_ = make_cuda_backend({});
  }

  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
  std::unique_ptr<Backend> backend_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_PARITY_CUDA_BACKEND_BACKEND_SUPPORT_H_
