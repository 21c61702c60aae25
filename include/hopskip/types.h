// Plain data that every layer and every user of the library shares.
#ifndef HOPSKIP_TYPES_H_
#define HOPSKIP_TYPES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace hopskip {

// Prefill steps process the prompt (many query tokens at once), decode steps one new token each.
enum class Phase : uint8_t { kPrefill, kDecode };
inline constexpr std::array<Phase, 2> kPhases{Phase::kPrefill, Phase::kDecode};

inline std::string_view phase_name(Phase phase) {
  return phase == Phase::kPrefill ? "prefill" : "decode";
}

// One value for each phase.
template <typename T>
struct PerPhase {
  T prefill{};
  T decode{};

  T& operator[](Phase phase) { return phase == Phase::kPrefill ? prefill : decode; }
  const T& operator[](Phase phase) const { return phase == Phase::kPrefill ? prefill : decode; }
  bool operator==(const PerPhase&) const = default;
};

// How sparse attention shall be. At most one of the two is set; neither means dense attention.
struct SkipSoftmaxConfig {
  // f ≥ 0 in λ = f / L, L = keys of the sequence at that step; 0 is dense.
  std::optional<PerPhase<double>> threshold_scale_factor = std::nullopt;
  // Share of visible tiles to skip, 0…1; a profile turns it into a factor.
  std::optional<PerPhase<double>> target_sparsity = std::nullopt;
};

// Voting tiles in which at least one row sees a key, and how many of those were skipped.
struct SkipCounts {
  uint64_t tiles = 0;
  uint64_t skipped = 0;

  SkipCounts& operator+=(const SkipCounts& other) {
    tiles += other.tiles;
    skipped += other.skipped;
    return *this;
  }
  double sparsity() const {
    return tiles == 0 ? 0.0 : static_cast<double>(skipped) / static_cast<double>(tiles);
  }
  bool operator==(const SkipCounts&) const = default;
};

using RequestId = int64_t;

// Applied in this order: penalties, temperature, top-k, top-p, min-p. Names and meanings as in vLLM
// and OpenAI's API.
struct SamplingParams {
  double temperature = 1.0;  // ≥ 0; 0: greedy, of equal logits the lowest id
  int top_k = 0;             // ≥ 0; 0: all tokens
  double top_p = 1.0;        // in (0, 1]; of the distribution that top-k leaves
  double min_p = 0.0;        // in [0, 1]; relative to the most likely token
  // 0.01 … 100; divides positive and multiplies negative logits of tokens in prompt or output.
  double repetition_penalty = 1.0;
  // −2 … 2; subtracted once from tokens in the output, and once for each occurrence.
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::optional<uint64_t> seed = std::nullopt;  // none: the engine draws one for the request
  // none: no log-probabilities; n ≥ 0: of the chosen token and the n most likely (n ≤ 64). They
  // are the model's own, before penalties and temperature.
  std::optional<int> logprobs = std::nullopt;
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0.0f;
};

struct SampledToken {
  int32_t id = 0;
  float logprob = 0.0f;           // 0 unless asked for
  std::vector<TokenLogprob> top;  // most likely first
};

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kError };
std::string_view finish_reason_name(FinishReason reason);  // "stop", "length", …

// Of one phase of one request. What a preemption made the engine compute again counts again.
struct PhaseStats {
  double threshold_scale_factor = 0.0;
  int64_t tokens = 0;  // processed in this phase
  int64_t steps = 0;
  // Of `tokens`, those that ran dense although the factor is above 0: fewer keys than min_context.
  int64_t tokens_below_min_context = 0;
  std::vector<SkipCounts> counts;  // [num_layers][num_heads]

  SkipCounts total() const;
};

struct SequenceStats {
  int num_layers = 0;
  int num_heads = 0;
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // prompt tokens whose K and V another request had left behind
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;
  PerPhase<PhaseStats> phases;
  // Seconds since add(); negative: has not happened.
  double started_s = -1.0;      // first step
  double first_token_s = -1.0;  // TTFT; with max_new_tokens = 0, when the prompt was done
  double finished_s = -1.0;
};

}  // namespace hopskip

#endif  // HOPSKIP_TYPES_H_
