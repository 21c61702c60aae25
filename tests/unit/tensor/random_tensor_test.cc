#include "tensor/random_tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tensor/view.h"

namespace hopskip {
namespace {

TEST(RandomTensor, ValuesAreNearlyNormal) {
  RandomTensor tensor;
  tensor.seed = mix_bits(5);
  tensor.deviation = 0.25f;
  tensor.cols = 1000;
  std::vector<bf16> values(200000);
  write_values(tensor, 0, values);
  double sum = 0.0, squares = 0.0, fourth = 0.0;
  for (bf16 value : values) {
    const double x = double{static_cast<float>(value)} / 0.25;
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0.0, 0.01);
  EXPECT_NEAR(squares / n, 1.0, 0.02);
  EXPECT_NEAR(fourth / n, 2.7, 0.1);  // 3 − 6/5 · 1/4
}

// The very bits, so that they cannot change unnoticed on any machine.
TEST(RandomTensor, ValuesAreTheSameEverywhere) {
  RandomTensor tensor;
  tensor.deviation = 1.0f;
  tensor.cols = 2;
  std::vector<bf16> values(4);
  write_values(tensor, 0, values);
  const std::vector<uint16_t> want{0x3fb7, 0xbf1e, 0xbfa6, 0xbf2c};
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values[i].bits, want[i]) << i;
  }
}

TEST(RandomTensor, RulesApplyInTheirOrder) {
  RandomTensor tensor;
  tensor.constant = 7.0f;
  tensor.cols = 5;
  tensor.zero_cols = 1;
  tensor.zero_rows = 1;
  tensor.period = 4;
  tensor.blank_row = 3;
  tensor.marked_row = 1;
  tensor.first_mark = 2;
  tensor.shift = 1;
  tensor.cycle = 3;
  tensor.mark = 9.0f;
  const std::vector<std::vector<float>> want{
      {0, 0, 0, 0, 0},  // zero_rows
      {0, 0, 0, 9, 0},  // marked: 2 + (0 + 1) % 3
      {0, 7, 7, 7, 7}, {0, 0, 0, 0, 0}, {0, 7, 7, 7, 7}, {0, 0, 0, 0, 9},
  };
  for (int64_t row = 0; row < std::ssize(want); ++row) {
    for (int64_t col = 0; col < tensor.cols; ++col) {
      EXPECT_EQ(value_at(tensor, row, col), want[row][col]) << row << ", " << col;
    }
  }
}

TEST(RandomTensor, BitsOfTheRowNumber) {
  RandomTensor tensor;
  tensor.constant = 7.0f;
  tensor.cols = 4;
  tensor.bit_cols = 2;
  const std::vector<std::vector<float>> want{
      {1, -1, -1, 7}, {1, 1, -1, 7}, {1, -1, 1, 7}, {1, 1, 1, 7}, {1, -1, -1, 7}};
  for (int64_t row = 0; row < std::ssize(want); ++row) {
    for (int64_t col = 0; col < tensor.cols; ++col) {
      EXPECT_EQ(value_at(tensor, row, col), want[row][col]) << row << ", " << col;
    }
  }
}

TEST(RandomTensor, APieceIsThatPartOfTheWhole) {
  TensorView view;
  view.dtype = DType::kBF16;
  view.rank = 2;
  view.shape = {6, 7};
  view.random.emplace();
  view.random->deviation = 1.0f;
  view.random->cols = 7;
  view.random->zero_cols = 2;
  const std::vector<bf16> all = random_values(view);
  ASSERT_EQ(all.size(), 42u);
  std::vector<bf16> piece(17);
  write_values(*view.random, 12, piece);
  for (size_t i = 0; i < piece.size(); ++i) {
    EXPECT_EQ(piece[i].bits, all[12 + i].bits) << i;
  }
  view.random.reset();
  EXPECT_TRUE(random_values(view).empty());
}

}  // namespace
}  // namespace hopskip
