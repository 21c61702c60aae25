// Finds stop strings in text that arrives in pieces.
#ifndef HOPSKIP_TEXT_STOP_MATCHER_H_
#define HOPSKIP_TEXT_STOP_MATCHER_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hopskip {

// Throws InvalidArgument for an empty stop string.
void validate_stops(std::span<const std::string> stops);

// Lets text through up to the first stop string, and holds back only what may be the beginning of
// one. Of several stop strings the one that ends first stops the text; of those that end at the
// same byte, the one that begins first.
class StopMatcher {
 public:
  // Throws as validate_stops(). No stop strings: everything passes at once.
  explicit StopMatcher(std::vector<std::string> stops);

  // Text that may be shown now. After a stop: the text before it, then always "".
  std::string push(std::string_view text);

  // Ends the stream: what was held back. "" after a stop.
  std::string flush();

  bool stopped() const { return stop_.has_value(); }

  // Index of the stop string that was found.
  std::optional<size_t> stop() const { return stop_; }

 private:
  struct Pattern {
    std::string text;
    std::vector<size_t> failure;  // [size] Knuth-Morris-Pratt: longest proper border of each prefix
    size_t matched = 0;           // bytes of the pattern that the stream ends with
  };

  std::vector<Pattern> patterns_;
  std::string held_;  // the longest matched beginning
  std::optional<size_t> stop_;
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_STOP_MATCHER_H_
