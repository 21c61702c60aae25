#include "text/utf8.h"

#include <cstring>

namespace hopskip {

Utf8Step decode_utf8(std::string_view bytes, size_t position) {
  using Kind = Utf8Step::Kind;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[position + i]); };
  const size_t left = bytes.size() - position;
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    return {Kind::kCodePoint, lead, 1};
  }
  if (lead < 0xC2 || lead > 0xF4) {
    return {Kind::kInvalid, kReplacementCharacter, 1};
  }
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte rules out overlong forms, surrogates and what lies above U+10FFFF.
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code_point = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (i == left) {
      return {Kind::kTruncated, kReplacementCharacter, i};
    }
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xBF)) {
      return {Kind::kInvalid, kReplacementCharacter, i};
    }
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  return {Kind::kCodePoint, code_point, size};
}

size_t previous_utf8(std::string_view bytes, size_t position) {
  for (size_t size = 2; size <= 4 && size <= position; ++size) {
    const Utf8Step step = decode_utf8(bytes.substr(0, position), position - size);
    if (step.kind == Utf8Step::Kind::kCodePoint && step.size == size) {
      return position - size;
    }
  }
  return position - 1;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

size_t valid_utf8_prefix(std::string_view bytes) {
  size_t position = 0;
  while (position < bytes.size()) {
    uint64_t eight = 0;
    if (position + sizeof(eight) <= bytes.size()) {
      std::memcpy(&eight, bytes.data() + position, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        position += sizeof(eight);
        continue;
      }
    }
    const Utf8Step step = decode_utf8(bytes, position);
    if (step.kind != Utf8Step::Kind::kCodePoint) {
      break;
    }
    position += step.size;
  }
  return position;
}

size_t invalid_utf8_prefix(std::string_view bytes) {
  size_t position = 0;
  while (position < bytes.size()) {
    const Utf8Step step = decode_utf8(bytes, position);
    if (step.kind == Utf8Step::Kind::kCodePoint) {
      break;
    }
    position += step.size;
  }
  return position;
}

}  // namespace hopskip
