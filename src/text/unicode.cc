#include "text/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <limits>

#include "base/check.h"

namespace hopskip {
namespace {

void check_icu(UErrorCode status, std::string_view what) {
  check(U_SUCCESS(status), ErrorCode::kInternal, "{} failed: {}", what, u_errorName(status));
}

icu::StringPiece piece_of(std::string_view text) {
  check(text.size() <= std::numeric_limits<int32_t>::max() / 4, ErrorCode::kInvalidArgument,
        "a text of {} bytes is too long: give it in parts of at most 512 MiB", text.size());
  return {text.data(), static_cast<int32_t>(text.size())};
}

const icu::Normalizer2* instance(Normalizer form, UErrorCode& status) {
  switch (form) {
    case Normalizer::kNfc:
      return icu::Normalizer2::getNFCInstance(status);
    case Normalizer::kNfd:
      return icu::Normalizer2::getNFDInstance(status);
    case Normalizer::kNfkc:
      return icu::Normalizer2::getNFKCInstance(status);
    case Normalizer::kNfkd:
      return icu::Normalizer2::getNFKDInstance(status);
    case Normalizer::kNone:
      break;
  }
  return nullptr;
}

using CaseMapping = void (*)(const char*, uint32_t, icu::StringPiece, icu::ByteSink&, icu::Edits*,
                             UErrorCode&);

std::string map_case(std::string_view text, CaseMapping mapping) {
  UErrorCode status = U_ZERO_ERROR;
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  mapping("", 0, piece_of(text), sink, nullptr, status);  // "": no language's special rules
  check_icu(status, "changing the case of a text");
  return out;
}

bool in_categories(char32_t c, uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & mask) != 0;
}

bool has(char32_t c, UProperty property) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), property);
}

}  // namespace

std::string normalize(std::string_view text, Normalizer form) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = instance(form, status);
  check_icu(status, "loading the Unicode normalization data");
  if (normalizer == nullptr) {
    return std::string(text);
  }
  std::string out;
  out.reserve(text.size());
  icu::StringByteSink<std::string> sink(&out);
  normalizer->normalizeUTF8(0, piece_of(text), sink, nullptr, status);
  check_icu(status, "normalizing a text");
  return out;
}

std::string to_upper(std::string_view text) { return map_case(text, icu::CaseMap::utf8ToUpper); }

std::string to_lower(std::string_view text) { return map_case(text, icu::CaseMap::utf8ToLower); }

std::string to_title(std::string_view character) {
  return map_case(character, [](const char* locale, uint32_t options, icu::StringPiece text,
                                icu::ByteSink& sink, icu::Edits* edits, UErrorCode& status) {
    icu::CaseMap::utf8ToTitle(locale, options | U_TITLECASE_NO_BREAK_ADJUSTMENT, nullptr, text,
                              sink, edits, status);
  });
}

bool is_white_space(char32_t c) { return has(c, UCHAR_WHITE_SPACE); }

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

bool is_cased(char32_t c) { return has(c, UCHAR_CASED); }

bool is_word_character(char32_t c) {
  return has(c, UCHAR_ALPHABETIC) || has(c, UCHAR_JOIN_CONTROL) ||
         in_categories(c, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK);
}

bool is_python_printable(char32_t c) {
  return c == ' ' || !in_categories(c, U_GC_C_MASK | U_GC_Z_MASK);
}

}  // namespace hopskip
