// Products and weights of the CUDA backend: against sums in fp64 and against the decoded tensors.
#include "base/check.h"
#include "parity/cuda_backend/backend_support.h"
#include "support/error_matchers.h"
#include "support/step_of_tokens.h"
#include "tensor/quantize.h"

namespace hopskip::test {
namespace {

// What an accumulator of a tensor core holds after a row of products: time and again the exact sum
// of its old value and the next 16 products, rounded toward zero to F32. (Fasi et al., "Numerical
// behavior of NVIDIA tensor cores", 2021, find truncation on V100, T4 and A100, with fewer products
// at a time and few bits kept below the accumulator's last.) It fits Hopper: of eight random
// 3 x 1536 to 576 the largest error is 2.5e-4 to 3.2e-4, with two bits kept below the last
// 2.1e-4 to 2.6e-4; an H100 showed 2.3e-4 to 2.5e-4; rounding to nearest leaves 0.9e-4. Truncation
// always shrinks a sum, so its error grows with the number of blocks and not with the root of it.
// This is the naive computation that products on a GPU are held to, also those without tensor
// cores, which do better.
float tensor_core_sum(std::span<const float> a, std::span<const float> b) {
  constexpr size_t kBlock = 16;
  float accumulator = 0.0f;
  for (size_t k = 0; k < a.size(); k += kBlock) {
    double sum = accumulator;
    for (size_t i = k; i < std::min(a.size(), k + kBlock); ++i) {
      sum += double{a[i]} * double{b[i]};
    }
    accumulator = static_cast<float>(sum);
    if (std::abs(accumulator) > std::abs(sum)) {
      accumulator = std::nextafter(accumulator, 0.0f);
    }
  }
  return accumulator;
}

class CudaLinearTest : public CudaBackendTest {
 protected:
  struct Shape {
    int64_t tokens, in, out;
  };

  // y (+)= x · wᵀ + bias, at most twice as far from the exact sums as those of a tensor core that
  // are rounded to the type of y.
  void expect_product(const Shape& s, bool has_bias, bool accumulates, MatrixKind y_kind) {
    SCOPED_TRACE(fmt::format("{} x {} to {}{}{}", s.tokens, s.in, s.out, has_bias ? ", bias" : "",
                             accumulates ? ", accumulates" : ""));
    backend_->reset_workspace();
    const bool exact = y_kind == MatrixKind::kExact;
    const std::vector<float> x = bf16_values(s.tokens * s.in, random_);
    const std::vector<float> w = bf16_values(s.out * s.in, random_);
    const std::vector<float> bias = bf16_values(s.out, random_);
    const std::vector<float> before = bf16_values(s.tokens * s.out, random_);
    const auto weight = backend_->load({w.data(), DType::kF32, 2, {s.out, s.in}});
    const auto vector = backend_->load({bias.data(), DType::kF32, 1, {s.out}});

    const Matrix y = upload(*backend_, before, s.out, y_kind);
    const LinearTerm term{weight.get(), has_bias ? vector.get() : nullptr, y, accumulates};
    backend_->linear(upload(*backend_, x, s.in, MatrixKind::kActivation), {&term, 1});
    const std::vector<float> got = download(y);

    std::vector<double> want(got.size());
    std::vector<float> naive(got.size());
    for (int64_t i = 0; i < std::ssize(got); ++i) {
      const int64_t o = i % s.out;
      const double start =
          (has_bias ? double{bias[o]} : 0.0) + (accumulates ? double{before[i]} : 0.0);
      const std::span<const float> x_row = std::span(x).subspan(i / s.out * s.in, s.in);
      const std::span<const float> w_row = std::span(w).subspan(o * s.in, s.in);
      double sum = 0.0;
      for (int64_t k = 0; k < s.in; ++k) {
        sum += double{x_row[k]} * double{w_row[k]};
      }
      want[i] = sum + start;
      naive[i] = tensor_core_sum(x_row, w_row) + static_cast<float>(start);
      naive[i] = exact ? naive[i] : round_bf16(naive[i]);
    }
    // A short sum can be exact by luck: one rounding of it is allowed.
    const double floor = exact ? 1e-5 : 0.0;
    const double allowed = 2.0 * largest_error(naive, want) + floor;
    EXPECT_LE(largest_error(got, want), allowed);
    if (exact) {
      fmt::print("  {} x {} to {}{}{}: error {:.3g}, allowed {:.3g}\n", s.tokens, s.in, s.out,
                 has_bias ? ", bias" : "", accumulates ? ", accumulates" : "",
                 largest_error(got, want), allowed);
    }
  }
};

TEST_F(CudaLinearTest, MatchesExactSums) {
  for (const Shape& s : {Shape{1, 64, 64},
                         {2, 576, 192},
                         {3, 1536, 576},
                         {8, 128, 1000},
                         {17, 576, 1536},
                         {130, 320, 96}}) {
    for (bool has_bias : {false, true}) {
      expect_product(s, has_bias, false, MatrixKind::kActivation);
      expect_product(s, has_bias, false, MatrixKind::kExact);
      expect_product(s, has_bias, true, MatrixKind::kExact);
    }
  }
}

// Rows that begin anywhere, as those of one sequence of a batch do.
TEST_F(CudaLinearTest, TakesRowsOfAMatrix) {
  const std::vector<float> x = bf16_values(5 * 72, random_);
  const std::vector<float> w = bf16_values(40 * 72, random_);
  const auto weight = backend_->load({w.data(), DType::kF32, 2, {40, 72}});
  const Matrix all = upload(*backend_, x, 72, MatrixKind::kActivation);
  const Matrix y = backend_->allocate(5, 40, MatrixKind::kExact);
  for (int64_t row = 0; row < 5; ++row) {
    const LinearTerm term{weight.get(), nullptr, y.row_range(row, 1), false};
    backend_->linear(all.row_range(row, 1), {&term, 1});
  }
  const std::vector<float> got(download(y));
  for (int64_t i = 0; i < 5 * 40; ++i) {
    double sum = 0.0;
    for (int64_t k = 0; k < 72; ++k) {
      sum += double{x[i / 40 * 72 + k]} * double{w[i % 40 * 72 + k]};
    }
    EXPECT_NEAR(got[i], sum, 1e-4);
  }
}

TEST_F(CudaLinearTest, RefusesMatricesOfTheWrongType) {
  const std::vector<float> w(64 * 64);
  const auto weight = backend_->load({w.data(), DType::kF32, 2, {64, 64}});
  const Matrix exact = backend_->allocate(1, 64, MatrixKind::kExact);
  const Matrix activation = backend_->allocate(1, 64, MatrixKind::kActivation);
  const LinearTerm term{weight.get(), nullptr, activation, false};
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "linear: a matrix is in f32",
               backend_->linear(exact, {&term, 1}));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "a 64 x 64 weight where a vector is wanted",
               backend_->rms_norm(upload(*backend_, w, 4096, MatrixKind::kExact), *weight, 1e-5f,
                                  backend_->allocate(1, 4096, MatrixKind::kActivation)));
}

class CudaWeightTest : public CudaBackendTest {
 protected:
  // Rows of the weight as the backend has them, through embed().
  void expect_rows(const TensorView& view, const std::vector<int32_t>& ids) {
    backend_->reset_workspace();
    const int64_t cols = view.shape[1];
    const auto weight = backend_->load(view);
    EXPECT_TRUE(weight->is_copy());
    const StepOfTokens step(*backend_, ids, std::vector<int32_t>(ids.size()));
    const Matrix y = backend_->allocate(std::ssize(ids), cols, MatrixKind::kExact);
    backend_->embed(step.get(), *weight, y);
    const std::span<const float> got = backend_->read(y);
    std::vector<float> want(cols);
    for (size_t i = 0; i < ids.size(); ++i) {
      dequantize(view.dtype, view.as<std::byte>() + ids[i] * row_bytes(view.dtype, cols),
                 want.data(), cols);
      int64_t wrong = 0;
      for (int64_t k = 0; k < cols; ++k) {
        wrong += got[i * cols + k] != round_bf16(want[k]);
      }
      EXPECT_EQ(wrong, 0) << "of row " << ids[i] << " in " << dtype_name(view.dtype);
    }
  }
};

TEST_F(CudaWeightTest, EveryDtypeComesAsBf16) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                      DType::kQ4_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    const int64_t rows = 70;
    const int64_t cols = is_quantized(dtype) ? 768 : 77;
    const std::vector<float> values = normal_values(rows * cols, random_);
    std::vector<std::byte> bytes(row_bytes(dtype, rows * cols));
    quantize(dtype, values.data(), bytes.data(), rows * cols);
    expect_rows({bytes.data(), dtype, 2, {rows, cols}}, {0, 69, 31, 31, 7});
  }
}

// More than both staging buffers hold.
TEST_F(CudaWeightTest, LargeOnesComeInPieces) {
  const int64_t rows = 40000;
  const int64_t cols = 2048;
  std::vector<uint16_t> bits(rows * cols);
  for (int64_t i = 0; i < rows * cols; ++i) {
    bits[i] = static_cast<uint16_t>(0x3f00 + i * 7919 % 251);
  }
  expect_rows({bits.data(), DType::kBF16, 2, {rows, cols}}, {0, 16383, 16384, 32767, 32768, 39999});
}

}  // namespace
}  // namespace hopskip::test
