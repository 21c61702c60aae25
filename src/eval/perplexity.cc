#include "eval/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace hopskip {
namespace {

void check_options(const LLM& llm, int64_t tokens, const PerplexityOptions& options) {
  const int64_t context = llm.info().context;
  check(options.length >= 2 && options.length <= context, ErrorCode::kInvalidArgument,
        "a window of {} tokens does not fit: the length must lie in 2…{}, the context",
        options.length, context);
  check(options.windows >= 1, ErrorCode::kInvalidArgument, "windows is {}; it must be 1 or above",
        options.windows);
  check(options.windows <= tokens / options.length, ErrorCode::kInvalidArgument,
        "the text has {} tokens, which is {} windows of {}: {} cannot be had; give more text or a "
        "smaller length",
        tokens, tokens / options.length, options.length, options.windows);
  check(!options.decode_from || (*options.decode_from > 0 && *options.decode_from < options.length),
        ErrorCode::kInvalidArgument, "decode from {} is outside the window of {} tokens",
        options.decode_from.value_or(0), options.length);
}

}  // namespace

double PerplexityScore::perplexity() const {
  return tokens == 0 ? 1.0 : std::exp(nll / static_cast<double>(tokens));
}

double PerplexityResult::perplexity() const {
  return PerplexityScore{scores.prefill.nll + scores.decode.nll,
                         scores.prefill.tokens + scores.decode.tokens}
      .perplexity();
}

PerplexityResult measure_perplexity(LLM& llm, std::span<const int32_t> text,
                                    const PerplexityOptions& options,
                                    const ProgressCallback& progress) {
  check_options(llm, static_cast<int64_t>(text.size()), options);
  const auto start = std::chrono::steady_clock::now();
  const int64_t decode_from = options.decode_from.value_or(std::numeric_limits<int64_t>::max());
  const int64_t total = options.windows * options.length;
  PerplexityResult result;
  for (int64_t window = 0; window < options.windows; ++window) {
    const auto tokens = text.subspan(window * options.length, options.length);
    const auto score = [&](int64_t begin, std::span<const float> logprobs) {
      for (size_t i = 0; i < logprobs.size(); ++i) {
        const int64_t position = begin + static_cast<int64_t>(i);  // predicts the token behind it
        PerplexityScore& part =
            result.scores[position < decode_from ? Phase::kPrefill : Phase::kDecode];
        part.nll -= logprobs[i];
        ++part.tokens;
      }
    };
    const auto report = [&](int64_t done, int64_t) {
      if (progress) {
        progress(window * options.length + done, total);
      }
    };
    const Output output = llm.generate(std::vector<int32_t>(tokens.begin(), tokens.end()),
                                       {.max_tokens = 0,
                                        .sparse_attention = options.sparse_attention,
                                        .decode_from = options.decode_from},
                                       {.on_prefill = report, .on_prompt_logprobs = score});
    for (Phase phase : kPhases) {
      const PhaseStats& stats = output.stats.phases[phase];
      result.threshold_scale_factor[phase] = stats.threshold_scale_factor;
      result.counts[phase] += stats.total();
    }
    for (const std::string& notice : output.stats.notices) {
      if (std::find(result.notices.begin(), result.notices.end(), notice) == result.notices.end()) {
        result.notices.push_back(notice);
      }
    }
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  result.seconds = elapsed.count();
  return result;
}

}  // namespace hopskip
