// Cuts text into the words that byte-pair encoding never joins.
#ifndef HOPSKIP_TEXT_PRE_TOKENIZER_H_
#define HOPSKIP_TEXT_PRE_TOKENIZER_H_

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/tokenizer_data.h"

namespace hopskip {

class PreTokenizer {
 public:
  // Where one thread keeps its buffers. Words may point into it: they are valid until the next
  // call of split() with the same scratch.
  class Scratch {
   public:
    explicit Scratch(const PreTokenizer& pre_tokenizer);

   private:
    friend class PreTokenizer;
    std::vector<Regex::Scratch> regex;          // one a step
    std::vector<std::string_view> words, next;  // input and output of a step
    std::deque<std::string> prefixed;           // words that got a space in front
  };

  explicit PreTokenizer(const std::vector<PreTokenizerStep>& steps);

  // The words of `text` in order. `text` is valid UTF-8.
  const std::vector<std::string_view>& split(std::string_view text, Scratch& scratch) const;

 private:
  struct Step {
    PreTokenizerStep what;
    Regex regex;
  };

  std::vector<Step> steps_;
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_PRE_TOKENIZER_H_
