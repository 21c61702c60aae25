#include "base/byte_reader.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "support/error_matchers.h"

namespace hopskip {
namespace {

constexpr std::array<unsigned char, 12> kBytes{1, 2, 3, 4, 0, 0, 0x80, 0x3f, 'a', 'b', 'c', 0xff};

ByteReader reader() { return {std::as_bytes(std::span(kBytes)), "file"}; }

TEST(ByteReader, ReadsLittleEndianAndAdvances) {
  ByteReader in = reader();
  EXPECT_EQ(in.read<uint32_t>(), 0x04030201u);
  EXPECT_EQ(in.read<float>(), 1.0f);
  EXPECT_EQ(in.take_text(3), "abc");
  EXPECT_EQ(in.offset(), 11u);
  EXPECT_EQ(in.read<int8_t>(), -1);
  EXPECT_EQ(in.remaining(), 0u);
}

TEST(ByteReader, NeverPassesTheEndAndSaysWhere) {
  ByteReader in = reader();
  in.take(9);
  EXPECT_ERROR(ErrorCode::kCorrupt, "file: 4 bytes wanted, 3 left (at byte 9 of 12)",
               in.read<uint32_t>());
  EXPECT_EQ(in.offset(), 9u);
  EXPECT_ERROR(ErrorCode::kCorrupt, "file", in.take(std::numeric_limits<uint64_t>::max()));
  EXPECT_EQ(in.take(3).size(), 3u);
}

TEST(ByteReader, CheckedMultiplicationSeesOverflow) {
  uint64_t result = 0;
  EXPECT_TRUE(checked_multiply(1ull << 32, 1ull << 31, &result));
  EXPECT_EQ(result, 1ull << 63);
  EXPECT_FALSE(checked_multiply(1ull << 32, 1ull << 32, &result));
}

}  // namespace
}  // namespace hopskip
