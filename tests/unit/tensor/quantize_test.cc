#include "tensor/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/byte_reader.h"
#include "base/float16.h"
#include "base/mapped_file.h"
#include "tensor/quant_blocks.h"

namespace hopskip {
namespace {

std::vector<float> random_values(int64_t n, float offset, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(offset, 1.0f);
  std::vector<float> values(n);
  for (float& value : values) {
    value = normal(random);
  }
  return values;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& values) {
  const auto n = static_cast<int64_t>(values.size());
  std::vector<char> stored(row_bytes(dtype, n) + 1);
  std::vector<float> result(n);
  quantize(dtype, values.data(), stored.data() + 1, n);  // + 1: alignment is not required
  dequantize(dtype, stored.data() + 1, result.data(), n);
  return result;
}

// ---- against the values the gguf package computes (tools/make_quant_goldens.py) ----

class QuantGolden : public testing::TestWithParam<DType> {};

TEST_P(QuantGolden, DequantizesAsTheGgufPackageDoes) {
  const DType dtype = GetParam();
  const MappedFile file(std::string(HOPSKIP_SOURCE_DIR "/tests/golden/quant/") +
                        std::string(dtype_name(dtype)) + ".bin");
  ByteReader reader(file.bytes(), file.path());
  const auto blocks = reader.read<uint32_t>();
  const auto elements = reader.read<uint32_t>();
  ASSERT_EQ(elements, blocks * block_elements(dtype));
  const auto stored = reader.take(row_bytes(dtype, elements));
  std::vector<float> values(elements);
  dequantize(dtype, stored.data(), values.data(), elements);
  for (uint32_t i = 0; i < elements; ++i) {
    const auto expected = reader.read<float>();
    ASSERT_NEAR(values[i], expected, 1e-6f * std::fabs(expected) + 1e-7f) << "element " << i;
  }
  EXPECT_EQ(reader.remaining(), 0u);
}

// ---- quantize() then dequantize() stays within the step of the format ----

struct Accuracy {
  DType dtype;
  float offset;     // mean of the values
  float tolerance;  // largest error allowed for values of unit variance
};

class RoundTrip : public testing::TestWithParam<Accuracy> {};

TEST_P(RoundTrip, ErrorStaysBelowTheStep) {
  const auto [dtype, offset, tolerance] = GetParam();
  const std::vector<float> values = random_values(4 * 256, offset, 7);
  const std::vector<float> result = round_trip(dtype, values);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(result[i], values[i], tolerance) << dtype_name(dtype) << " element " << i;
  }
}

TEST_P(RoundTrip, ZerosStayZeros) {
  for (const float value : round_trip(GetParam().dtype, std::vector<float>(256, 0.0f))) {
    ASSERT_EQ(value, 0.0f);
  }
}

std::string name_of(DType dtype) { return std::string(dtype_name(dtype)); }

INSTANTIATE_TEST_SUITE_P(Formats, QuantGolden,
                         testing::Values(DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ4_K,
                                         DType::kQ5_K, DType::kQ6_K),
                         [](const auto& info) { return name_of(info.param); });

INSTANTIATE_TEST_SUITE_P(
    Formats, RoundTrip,
    testing::Values(Accuracy{DType::kF32, 0, 0}, Accuracy{DType::kF16, 0, 2e-3f},
                    Accuracy{DType::kBF16, 0, 1.6e-2f}, Accuracy{DType::kQ8_0, 0, 0.02f},
                    Accuracy{DType::kQ4_0, 0, 0.5f}, Accuracy{DType::kQ4_1, 3, 0.25f},
                    Accuracy{DType::kQ4_K, 0, 0.35f}, Accuracy{DType::kQ5_K, 0, 0.2f},
                    Accuracy{DType::kQ6_K, 0, 0.1f}),
    [](const auto& info) { return name_of(info.param.dtype); });

TEST(Quantize, KScalesUseAllSixBits) {
  // One large group sets d; the other groups must still reach scales above 15, where the packing
  // of groups 4..7 splits a scale over two bytes.
  std::vector<float> values = random_values(256, 0, 3);
  for (int i = 0; i < 256; ++i) {
    values[i] *= 1.0f + static_cast<float>(i / 32);
  }
  for (const DType dtype : {DType::kQ4_K, DType::kQ5_K}) {
    const std::vector<float> result = round_trip(dtype, values);
    for (int i = 0; i < 256; ++i) {
      ASSERT_NEAR(result[i], values[i], 0.35f * (1.0f + static_cast<float>(i / 32))) << i;
    }
  }
}

TEST(Quantize, RefusesPartialBlocksAndTypesWithoutValues) {
  float values[64] = {};
  char stored[256] = {};
  const auto code_of = [](auto&& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code_of([&] { quantize(DType::kQ8_0, values, stored, 33); }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { dequantize(DType::kQ4_K, stored, values, 32); }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { dequantize(DType::kI32, stored, values, 4); }), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace hopskip
