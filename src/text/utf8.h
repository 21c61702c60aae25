// UTF-8, code point by code point.
#ifndef HOPSKIP_TEXT_UTF8_H_
#define HOPSKIP_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hopskip {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

struct Utf8Step {
  enum class Kind { kCodePoint, kInvalid, kTruncated };
  Kind kind;
  char32_t code_point;  // U+FFFD unless kCodePoint
  size_t size;          // bytes: of the code point, or of the maximal part that begins one, ≥ 1
};

// What stands at bytes[position]; position < bytes.size(). kTruncated: the bytes end within what
// may be a code point. Table 3-7 of the Unicode standard decides what is well formed.
Utf8Step decode_utf8(std::string_view bytes, size_t position);

// The position where the code point before `position` begins; position > 0. A byte that is not
// part of a code point counts as one.
size_t previous_utf8(std::string_view bytes, size_t position);

void append_utf8(std::string& out, char32_t code_point);

// Number of bytes of the longest valid UTF-8 that `bytes` begins with.
size_t valid_utf8_prefix(std::string_view bytes);

// Number of bytes before the first valid code point.
size_t invalid_utf8_prefix(std::string_view bytes);

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_UTF8_H_
