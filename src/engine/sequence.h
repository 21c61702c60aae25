// What is asked of the engine, what it answers, and what it knows of a request in between.
#ifndef HOPSKIP_ENGINE_SEQUENCE_H_
#define HOPSKIP_ENGINE_SEQUENCE_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sampling.h"
#include "hopskip/error.h"
#include "hopskip/types.h"

namespace hopskip {

// Logits of consecutive prompt positions, valid during the callback.
struct PromptLogits {
  int64_t begin = 0;              // prompt position of the first row
  int64_t rows = 0;               // at most kPromptLogitRows
  std::span<const float> logits;  // [rows][vocab]
  // log p(prompt[begin + i + 1]) given the tokens up to position begin + i: [rows], one less in the
  // block of the last position.
  std::span<const float> next_logprobs;
};
inline constexpr int64_t kPromptLogitRows = 256;  // bounds the memory that prompt logits take

struct Request {
  std::vector<int32_t> prompt;  // not empty, ids < vocab
  // 0 computes the prompt only. Generation also ends where the context ends.
  int64_t max_new_tokens = std::numeric_limits<int64_t>::max();
  std::vector<int32_t> stop_ids;  // any of them ends the generation and is its last token
  SamplingParams sampling;

  // Skip Softmax: λ = factor / keys, 0 is dense. A step with fewer keys than min_context runs
  // dense, and the statistics say so.
  PerPhase<double> threshold_scale_factor{};
  int64_t min_context = 0;

  // Teacher forcing: prompt tokens from this position on are fed one by one as decode steps.
  std::optional<int64_t> decode_from;
  // Called in order of position, each position once, before the first generated token.
  std::function<void(const PromptLogits&)> on_prompt_logits;
};

struct Event {
  RequestId id = 0;
  std::optional<SampledToken> token;           // a new token
  std::optional<FinishReason> finish;          // set once, in the last event of a request
  std::shared_ptr<const SequenceStats> stats;  // with `finish`
  // Of kError: what the error said and was.
  std::string error;
  ErrorCode error_code = ErrorCode::kInternal;
};

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_SEQUENCE_H_
