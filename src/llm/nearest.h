// "Did you mean …?"
#ifndef HOPSKIP_LLM_NEAREST_H_
#define HOPSKIP_LLM_NEAREST_H_

#include <span>
#include <string>
#include <string_view>

namespace hopskip {

// The candidate with the fewest insertions, deletions and substitutions away from `word`; "" where
// even that one has less than half its letters in common.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace hopskip

#endif  // HOPSKIP_LLM_NEAREST_H_
