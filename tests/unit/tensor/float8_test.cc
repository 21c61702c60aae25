#include "base/float8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tensor/quantize.h"

namespace hopskip {
namespace {

fp8_e4m3 of_bits(int bits) {
  fp8_e4m3 value;
  value.bits = static_cast<uint8_t>(bits);
  return value;
}

float value_of(int bits) { return static_cast<float>(of_bits(bits)); }

TEST(Float8, DecodesEveryCode) {
  for (int bits = 0; bits < 0x7f; ++bits) {
    const int exponent = bits >> 3;
    const int mantissa = bits & 7;
    const double want =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1.0 + mantissa / 8.0, exponent - 7);
    EXPECT_EQ(double{value_of(bits)}, want) << bits;
    EXPECT_EQ(double{value_of(bits | 0x80)}, -want) << bits;
  }
  EXPECT_TRUE(std::signbit(value_of(0x80)));
  EXPECT_TRUE(std::isnan(value_of(0x7f)));
  EXPECT_TRUE(std::isnan(value_of(0xff)));
  EXPECT_EQ(value_of(0x7e), kLargestE4m3);
}

TEST(Float8, EveryCodeComesBack) {
  for (int bits = 0; bits < 0x100; ++bits) {
    if ((bits & 0x7f) != 0x7f) {
      EXPECT_EQ(fp8_e4m3(value_of(bits)).bits, bits);
    }
  }
}

// Between any two neighbours: the nearer one, in the middle the even one.
TEST(Float8, RoundsToNearestEven) {
  for (int bits = 0; bits < 0x7e; ++bits) {
    const float low = value_of(bits);
    const float high = value_of(bits + 1);
    const float middle = 0.5f * (low + high);  // exact
    const int even = bits % 2 == 0 ? bits : bits + 1;
    EXPECT_EQ(fp8_e4m3(middle).bits, even) << low;
    EXPECT_EQ(fp8_e4m3(std::nextafter(middle, low)).bits, bits) << low;
    EXPECT_EQ(fp8_e4m3(std::nextafter(middle, high)).bits, bits + 1) << low;
    EXPECT_EQ(fp8_e4m3(-middle).bits, even | 0x80) << low;
  }
}

TEST(Float8, HoldsWhatIsTooLarge) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (float large : {448.1f, 464.0f, 480.0f, 1e6f, 3e38f, kInfinity}) {
    EXPECT_EQ(fp8_e4m3(large).bits, 0x7e) << large;
    EXPECT_EQ(fp8_e4m3(-large).bits, 0xfe) << large;
  }
  EXPECT_EQ(fp8_e4m3(std::numeric_limits<float>::quiet_NaN()).bits, 0x7f);
  EXPECT_EQ(fp8_e4m3(-std::numeric_limits<float>::quiet_NaN()).bits, 0x7f);
  EXPECT_EQ(fp8_e4m3(1e-30f).bits, 0);
  EXPECT_EQ(fp8_e4m3(-1e-30f).bits, 0x80);
}

// Normal values are off by a sixteenth at most: three stored bits of mantissa.
TEST(Float8, IsADTypeWithoutScale) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.0f, 30.0f);
  std::vector<float> values(4096);
  for (float& value : values) {
    value = normal(random);
  }
  std::vector<uint8_t> stored(values.size());
  std::vector<float> back(values.size());
  const auto n = static_cast<int64_t>(values.size());
  EXPECT_EQ(row_bytes(DType::kF8E4M3, n), n);
  quantize(DType::kF8E4M3, values.data(), stored.data(), n);
  dequantize(DType::kF8E4M3, stored.data(), back.data(), n);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_LE(std::fabs(back[i] - values[i]), std::max(std::fabs(values[i]) / 16, 0x1p-10f));
  }
}

}  // namespace
}  // namespace hopskip
