// From logits to a token.
#ifndef HOPSKIP_ENGINE_SAMPLING_H_
#define HOPSKIP_ENGINE_SAMPLING_H_

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "hopskip/types.h"
#include "kernels/candidates.h"

namespace hopskip {

// Throws InvalidArgument naming the field and its range.
void validate(const SamplingParams& params);

// The sampling state of one sequence. The n-th token depends on the parameters, the seed, n, the
// logits and the tokens before it, and on nothing else: batching and preemption cannot change it.
class Sampler {
 public:
  Sampler(const SamplingParams& params, uint64_t seed, std::span<const int32_t> prompt);

  // Records the token as generated. row: of a row of `vocab` logits, finite or −inf, the best
  // candidates. Nothing, and nothing is recorded, where those do not decide what the whole row
  // would give. Throws Corrupt where a logit is NaN or the largest one infinite.
  std::optional<SampledToken> sample(const RowCandidates& row, int64_t vocab);
  // The same from the whole row, [vocab]: where the first one gives a token, it is this one, and
  // its log-probabilities are the same bits.
  SampledToken sample(const RowCandidates& row, std::span<const float> logits);
  // The same from the row alone.
  SampledToken sample(std::span<const float> logits);

 private:
  struct Seen {
    bool in_prompt = false;
    int32_t generated = 0;
  };

  bool penalises() const;
  float penalised(float logit, const Seen& seen) const;
  // No seen token can be more likely with its penalties than without.
  bool penalties_only_lower() const;
  std::optional<int32_t> draw(const RowCandidates& row, int64_t vocab);
  int32_t draw(std::span<const float> logits);
  SampledToken record(int32_t id, float logit, const RowCandidates& row);
  float inverse_temperature() const;
  double uniform() const;

  SamplingParams params_;
  uint64_t seed_;
  int64_t generated_ = 0;
  std::unordered_map<int32_t, Seen> seen_;  // kept only where a penalty needs it
  std::vector<float> penalised_;            // scratch
  std::vector<Candidate> candidates_;       // scratch
  std::vector<float> scaled_;               // scratch
};

// log Σ exp(x): x is not empty.
double log_sum_exp(std::span<const float> x);

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_SAMPLING_H_
