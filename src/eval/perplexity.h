// Perplexity of a text, at the sparsity that is asked for.
#ifndef HOPSKIP_EVAL_PERPLEXITY_H_
#define HOPSKIP_EVAL_PERPLEXITY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hopskip/llm.h"

namespace hopskip {

struct PerplexityOptions {
  int64_t length = 8192;  // tokens of a window, ≥ 2; windows follow one another in the text
  int64_t windows = 4;
  SkipSoftmaxConfig sparse_attention = {};
  // Tokens of a window from this position on go through decode, one by one; in (0, length).
  std::optional<int64_t> decode_from = std::nullopt;
};

// Of the tokens that were predicted in one phase.
struct PerplexityScore {
  double nll = 0.0;  // sum of −log p, natural
  int64_t tokens = 0;

  double perplexity() const;  // exp(nll / tokens); 1 for no tokens
};

struct PerplexityResult {
  PerPhase<PerplexityScore> scores;  // a window's first token is not predicted
  PerPhase<double> threshold_scale_factor;
  PerPhase<SkipCounts> counts;
  double seconds = 0.0;
  std::vector<std::string> notices;  // each once

  double perplexity() const;  // over both phases
};

// Tokens done, of how many, over all windows.
using ProgressCallback = std::function<void(int64_t done, int64_t total)>;

// Throws InvalidArgument where the text is too short or an option is out of range.
PerplexityResult measure_perplexity(LLM& llm, std::span<const int32_t> text,
                                    const PerplexityOptions& options,
                                    const ProgressCallback& progress = {});

}  // namespace hopskip

#endif  // HOPSKIP_EVAL_PERPLEXITY_H_
