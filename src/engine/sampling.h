// From logits to a token.
#ifndef HOPSKIP_ENGINE_SAMPLING_H_
#define HOPSKIP_ENGINE_SAMPLING_H_

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "hopskip/types.h"

namespace hopskip {

// Throws InvalidArgument naming the field and its range.
void validate(const SamplingParams& params);

// The sampling state of one sequence. The n-th token depends on the parameters, the seed, n, the
// logits and the tokens before it, and on nothing else: batching and preemption cannot change it.
class Sampler {
 public:
  Sampler(const SamplingParams& params, uint64_t seed, std::span<const int32_t> prompt);

  // logits: [vocab], finite or −inf. Records the token as generated. Throws Corrupt where the
  // largest logit is not finite.
  SampledToken sample(std::span<const float> logits);

 private:
  struct Seen {
    bool in_prompt = false;
    int32_t generated = 0;
  };

  bool penalises() const;
  void penalise(std::span<float> logits) const;
  int32_t draw(std::span<const float> logits);
  double uniform() const;

  SamplingParams params_;
  uint64_t seed_;
  int64_t generated_ = 0;
  std::unordered_map<int32_t, Seen> seen_;  // kept only where a penalty needs it
  std::vector<float> penalised_;            // scratch
  std::vector<TokenLogprob> candidates_;    // scratch
};

// log Σ exp(x): x is not empty.
double log_sum_exp(std::span<const float> x);

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_SAMPLING_H_
