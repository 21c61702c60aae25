// Tensors whose values are a function of their place: weights for measuring speed, which need no
// file and which a GPU writes where they are used. Host and device compute the same bits.
#ifndef HOPSKIP_TENSOR_RANDOM_TENSOR_H_
#define HOPSKIP_TENSOR_RANDOM_TENSOR_H_

#include <cstdint>
#include <span>

#include "base/float16.h"
#include "base/host_device.h"

namespace hopskip {

// Values of a matrix [rows][cols] in BF16; of a vector, cols is 1. The first rule that applies:
//   rows below zero_rows                          0
//   rows r with r mod period = blank_row          0
//   rows r with r mod period = marked_row         `mark` in column first_mark + (r / period +
//                                                 shift) mod cycle, 0 in the others
//   column 0, where bit_cols > 0                  1
//   columns 1 + j, j < bit_cols                   1 where bit j of the row's number is set, else −1
//   columns below zero_cols                       0
//   all others                                    normal numbers of mean 0, nearly: the sum of four
//                                                 uniform ones; `constant` where deviation is 0
struct RandomTensor {
  uint64_t seed = 0;  // tensors that shall differ have seeds far apart, such as mix_bits() gives
  float deviation = 0.0f;
  float constant = 0.0f;
  int64_t cols = 1;
  int64_t zero_rows = 0;
  int64_t zero_cols = 0;
  int32_t bit_cols = 0;
  int32_t period = 0;  // 0: no row is blank or marked
  int32_t blank_row = -1;
  int32_t marked_row = -1;
  int32_t first_mark = 0;
  int32_t shift = 0;
  int32_t cycle = 1;
  float mark = 0.0f;
};

// splitmix64's output function, by Sebastiano Vigna: a permutation that looks random.
HOPSKIP_HD inline uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Of mean 0 and variance 1, at most 3.46. Integers and one product: no compiler can fuse anything
// that would change the last bit.
HOPSKIP_HD inline float near_normal(uint64_t counter) {
  const uint64_t bits = mix_bits(counter);
  const auto sum = static_cast<int32_t>((bits & 0xffff) + (bits >> 16 & 0xffff) +
                                        (bits >> 32 & 0xffff) + (bits >> 48));
  constexpr int32_t kMean = 2 * 0xffff;
  constexpr float kUnit = 2.6428998e-5f;  // 1 / sqrt(4 · (65536² − 1) / 12)
  return static_cast<float>(sum - kMean) * kUnit;
}

// Before it is rounded to BF16.
HOPSKIP_HD inline float value_at(const RandomTensor& t, int64_t row, int64_t col) {
  if (row < t.zero_rows) {
    return 0.0f;
  }
  if (t.period > 0) {
    const int64_t place = row % t.period;
    if (place == t.blank_row) {
      return 0.0f;
    }
    if (place == t.marked_row) {
      const int64_t marked = t.first_mark + (row / t.period + t.shift) % t.cycle;
      return col == marked ? t.mark : 0.0f;
    }
  }
  if (col <= t.bit_cols && t.bit_cols > 0) {
    return col == 0 || (row >> (col - 1) & 1) != 0 ? 1.0f : -1.0f;
  }
  if (col < t.zero_cols) {
    return 0.0f;
  }
  if (t.deviation == 0.0f) {
    return t.constant;
  }
  return near_normal(t.seed + static_cast<uint64_t>(row * t.cols + col)) * t.deviation;
}

// Elements [begin, begin + out.size()) of the matrix, counted row by row.
void write_values(const RandomTensor& tensor, int64_t begin, std::span<bf16> out);

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_RANDOM_TENSOR_H_
