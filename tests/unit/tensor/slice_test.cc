#include "tensor/slice.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "support/error_matchers.h"
#include "tensor/quantize.h"

namespace hopskip {
namespace {

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(view.elements());
  dequantize(view.dtype, view.data, values.data(), view.elements());
  return values;
}

// A matrix [6][64] that counts, in the given type, and what it decodes to.
struct Counting {
  explicit Counting(DType dtype) : stored(row_bytes(dtype, 6 * 64)) {
    std::vector<float> counted(6 * 64);
    std::iota(counted.begin(), counted.end(), -100.0f);
    quantize(dtype, counted.data(), stored.data(), 6 * 64);
    view = {stored.data(), dtype, 2, {6, 64}};
    values = values_of(view);
  }
  Buffer stored;
  TensorView view;
  std::vector<float> values;
};

constexpr std::array kTypes{DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0};

TEST(Slice, RowsAreAWindow) {
  for (const DType dtype : kTypes) {
    Counting whole(dtype);
    whole.view.mapped = true;
    const TensorSlice slice = slice_rows(whole.view, 2, 3);
    EXPECT_EQ(slice.copy.bytes(), 0u);
    EXPECT_TRUE(slice.view.mapped);
    EXPECT_EQ(slice.view.shape[0], 3);
    EXPECT_EQ(slice.view.shape[1], 64);
    EXPECT_EQ(values_of(slice.view),
              std::vector(whole.values.begin() + 2 * 64, whole.values.begin() + 5 * 64));
  }
}

TEST(Slice, ColumnsAreCopied) {
  for (const DType dtype : kTypes) {
    Counting whole(dtype);
    whole.view.mapped = true;
    const TensorSlice slice = slice_cols(whole.view, 32, 32);
    EXPECT_EQ(slice.view.data, slice.copy.data());
    EXPECT_FALSE(slice.view.mapped);
    EXPECT_EQ(slice.view.bytes(), static_cast<int64_t>(slice.copy.bytes()));
    std::vector<float> expected;
    for (int row = 0; row < 6; ++row) {
      const auto begin = whole.values.begin() + row * 64 + 32;
      expected.insert(expected.end(), begin, begin + 32);
    }
    EXPECT_EQ(values_of(slice.view), expected);
  }
}

TEST(Slice, ElementsOfAVector) {
  const float values[] = {1, 2, 3, 4, 5};
  const TensorSlice slice = slice_rows({values, DType::kF32, 1, {5}}, 1, 3);
  EXPECT_EQ(slice.view.rank, 1);
  EXPECT_EQ(values_of(slice.view), (std::vector<float>{2, 3, 4}));
}

TEST(Slice, OfRandomTensorsTheValues) {
  TensorView view{nullptr, DType::kBF16, 2, {6, 10}};
  view.random = RandomTensor{.seed = 5, .deviation = 1.0f, .cols = 10};
  const std::vector<bf16> all = random_values(view);
  const auto expect_part = [&](const TensorSlice& slice, int64_t row, int64_t col) {
    EXPECT_FALSE(slice.view.random);
    for (int64_t i = 0; i < slice.view.elements(); ++i) {
      const int64_t width = slice.view.shape[1];
      EXPECT_EQ(static_cast<float>(slice.view.as<bf16>()[i]),
                static_cast<float>(all[(row + i / width) * 10 + col + i % width]));
    }
  };
  expect_part(slice_rows(view, 2, 3), 2, 0);
  expect_part(slice_cols(view, 4, 5), 0, 4);
}

TEST(Slice, RefusesWhatIsNotThereAndCutBlocks) {
  const Counting whole(DType::kQ8_0);
  EXPECT_ERROR(ErrorCode::kInternal, "4 elements from 3 on", slice_rows(whole.view, 3, 4));
  EXPECT_ERROR(ErrorCode::kInternal, "-1", slice_rows(whole.view, -1, 4));
  EXPECT_ERROR(ErrorCode::kInternal, "64 elements from 32 on", slice_cols(whole.view, 32, 64));
  EXPECT_ERROR(ErrorCode::kInternal, "not whole blocks of 32", slice_cols(whole.view, 16, 32));
  EXPECT_ERROR(ErrorCode::kInternal, "not whole blocks of 32", slice_cols(whole.view, 32, 16));
}

}  // namespace
}  // namespace hopskip
