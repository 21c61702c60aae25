#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/check.h"

namespace hopskip {
namespace {

// Work that one match may cost. The models' own patterns backtrack over a run of spaces once.
constexpr size_t kMatchLimit = 1'000'000;
constexpr size_t kMatchLimitPerByte = 8;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kMaxPatternBytes = 64 * 1024;

#define HOPSKIP_SPACES \
  R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"
// Oniguruma counts the fractions and superscripts of Latin-1 as word characters.
#define HOPSKIP_WORD R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})"

// PCRE2's \s has U+180E, its \w has neither marks nor connectors, its \h is a space.
struct Translation {
  char escape;
  std::string_view in_class;  // empty: cannot be said inside [...]
  std::string_view outside;
};
constexpr Translation kTranslations[] = {
    {'s', HOPSKIP_SPACES, "[" HOPSKIP_SPACES "]"},
    {'S', R"(\P{White_Space})", "[^" HOPSKIP_SPACES "]"},
    {'w', HOPSKIP_WORD, "[" HOPSKIP_WORD "]"},
    {'W', "", "[^" HOPSKIP_WORD "]"},
    {'h', "0-9a-fA-F", "[0-9a-fA-F]"},
    {'H', R"(\x{0}-/:-@G-`g-\x{10ffff})", "[^0-9a-fA-F]"},
};

#undef HOPSKIP_SPACES
#undef HOPSKIP_WORD

std::string translate(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      const bool first_in_class =
          in_class && (out.ends_with("[") || (out.ends_with("[^") && !out.ends_with("\\[^")));
      in_class = in_class ? c != ']' || first_in_class : c == '[';
      out.push_back(c);
      continue;
    }
    const char escape = pattern[++i];
    std::string_view replacement;
    for (const Translation& t : kTranslations) {
      if (t.escape == escape) {
        replacement = in_class ? t.in_class : t.outside;
        check(!replacement.empty(), ErrorCode::kUnsupported,
              "pattern '{}': \\{} inside [...] is not supported", pattern, escape);
      }
    }
    if (replacement.empty()) {
      out.push_back('\\');
      out.push_back(escape);
    } else {
      out += replacement;
    }
  }
  return out;
}

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

Regex::Scratch::Scratch(const Regex& regex)
    : data_(pcre2_match_data_create_from_pattern(regex.code_, nullptr)),
      limits_(pcre2_match_context_create(nullptr)) {
  if (data_ == nullptr || limits_ == nullptr) {
    pcre2_match_data_free(data_);
    pcre2_match_context_free(limits_);
    fail(ErrorCode::kOutOfMemory, "no memory for the state of a pattern");
  }
  pcre2_set_heap_limit(limits_, kHeapLimitKib);
}

Regex::Scratch::~Scratch() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(limits_);
}

Regex::Scratch::Scratch(Scratch&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), limits_(std::exchange(other.limits_, nullptr)) {}

Regex::Regex(std::string_view pattern) {
  check(pattern.size() <= kMaxPatternBytes, ErrorCode::kCorrupt,
        "a pattern has {} bytes, at most {} are accepted", pattern.size(), kMaxPatternBytes);
  const std::string translated = translate(pattern);
  int error = 0;
  PCRE2_SIZE position = 0;
  // Ruby's ^ and $ are always line anchors. \C would match half a character.
  code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                        &position, nullptr);
  check(code_ != nullptr, ErrorCode::kCorrupt, "pattern '{}': {} (at byte {} of '{}')", pattern,
        error_text(error), position, translated);
  jit_ = pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() { pcre2_code_free(code_); }

Regex::Regex(Regex&& other) noexcept
    : code_(std::exchange(other.code_, nullptr)), jit_(other.jit_) {}

std::optional<RegexMatch> Regex::find(std::string_view text, size_t from, Scratch& scratch) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const size_t limit = kMatchLimit + kMatchLimitPerByte * (text.size() - from);
  pcre2_set_match_limit(scratch.limits_,
                        static_cast<uint32_t>(std::min<size_t>(limit, UINT32_MAX)));
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (jit_) {
    result = pcre2_jit_match(code_, subject, text.size(), from, 0, scratch.data_, scratch.limits_);
  }
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
    result = pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         scratch.data_, scratch.limits_);
  }
  if (result == PCRE2_ERROR_NOMATCH) {
    return std::nullopt;
  }
  check(result > 0, ErrorCode::kInvalidArgument, "the tokenizer's pattern gave up on this text: {}",
        error_text(result));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(scratch.data_);
  const size_t begin = std::max<size_t>(offsets[0], from);  // \K can move it anywhere
  return RegexMatch{begin, std::max<size_t>(begin, offsets[1])};
}

}  // namespace hopskip
