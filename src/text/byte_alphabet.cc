#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace hopskip {
namespace {

constexpr char32_t kShifted = 0x100;  // where the bytes without a printable character go
constexpr size_t kAlphabetEnd = kShifted + 68;

constexpr bool is_printable(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

constexpr std::array<int16_t, kAlphabetEnd> kByteOf = [] {
  std::array<int16_t, kAlphabetEnd> table{};
  table.fill(-1);
  size_t next = kShifted;
  for (int byte = 0; byte < 256; ++byte) {
    table[is_printable(byte) ? static_cast<size_t>(byte) : next++] = static_cast<int16_t>(byte);
  }
  return table;
}();

}  // namespace

std::optional<std::string> bytes_from_alphabet(std::string_view token) {
  std::string bytes;
  for (size_t position = 0; position < token.size();) {
    const Utf8Step step = decode_utf8(token, position);
    if (step.code_point >= kAlphabetEnd || kByteOf[step.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kByteOf[step.code_point]));
    position += step.size;
  }
  return bytes;
}

}  // namespace hopskip
