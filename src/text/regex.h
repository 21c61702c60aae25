// Regular expressions over UTF-8 with the meaning that Hugging Face tokenizers gives them.
#ifndef HOPSKIP_TEXT_REGEX_H_
#define HOPSKIP_TEXT_REGEX_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace hopskip {

struct RegexMatch {
  size_t begin;
  size_t end;
};

class Regex {
 public:
  // Where one thread keeps the state of its matches.
  class Scratch {
   public:
    explicit Scratch(const Regex& regex);
    ~Scratch();
    Scratch(Scratch&& other) noexcept;
    Scratch& operator=(Scratch&&) = delete;

   private:
    friend class Regex;
    pcre2_real_match_data_8* data_;
    pcre2_real_match_context_8* limits_;
  };

  // Patterns are written for Oniguruma's Ruby syntax; what PCRE2 reads differently (\s \w \h, line
  // anchors) is translated. Throws Corrupt where the pattern does not compile.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&& other) noexcept;
  Regex& operator=(Regex&&) = delete;

  // The first match in `text` that begins at `from` or later. `text` is valid UTF-8 and `from` the
  // beginning of a code point. Throws InvalidArgument when the match limit is reached.
  std::optional<RegexMatch> find(std::string_view text, size_t from, Scratch& scratch) const;

 private:
  pcre2_real_code_8* code_;
  bool jit_;
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_REGEX_H_
