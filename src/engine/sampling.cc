#include "engine/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace hopskip {
namespace {

// A token this far (natural units) below the most likely one is never drawn: even a million of them
// share less than 2⁻⁴³ of the mass, and the random number has 53 bits.
constexpr float kNegligible = 44.0f;
constexpr int kMaxLogprobs = 64;

void check_range(bool inside, std::string_view field, double value, std::string_view range) {
  check(inside, ErrorCode::kInvalidArgument, "{} is {}; it must be {}", field, value, range);
}

bool in(double value, double low, double high) { return value >= low && value <= high; }

// SplitMix64 (Steele, Lea, Flood 2014): one well-mixed number from a counter.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool after(const Candidate& a, const Candidate& b) { return before(b, a); }

// Of a logit: its distance from the largest, in units of the temperature; at most 0.
float scale(float logit, float max, float inverse_temperature) {
  return (logit - max) * inverse_temperature;
}

// A token's share of the mass, up to a constant, at most 1.
double weight_of(float scaled) { return std::exp(scaled); }

// The `count` first of a row, in order.
std::vector<Candidate> most_likely(std::span<const float> logits, int64_t count) {
  std::vector<Candidate> top;  // a heap, the last of them in front
  for (int64_t i = 0; i < std::ssize(logits); ++i) {
    const Candidate token{static_cast<int32_t>(i), logits[i]};
    if (std::ssize(top) == count) {
      if (!before(token, top.front())) {
        continue;
      }
      std::ranges::pop_heap(top, before);
      top.pop_back();
    }
    top.push_back(token);
    std::ranges::push_heap(top, before);
  }
  std::ranges::sort_heap(top, before);
  return top;
}

void check_finite(const RowCandidates& row) {
  check(!std::isnan(row.sum_exp) && std::isfinite(row.top.front().logit), ErrorCode::kCorrupt,
        "the model computes logits that are not finite: its weights are damaged");
}

// What is known of a sum.
struct Bounds {
  double low = 0.0;
  double high = 0.0;

  Bounds within(double error) const { return {low * (1.0 - error), high * (1.0 + error)}; }
};

// Two sums of the same numbers in fp64, in another order.
constexpr double kOrderError = 1e-12;

// Σ y^p, p > 0, of n ≥ 1 numbers y between 0 and `largest` ≤ 1 whose sum is in `sum`. On one side
// it is Σ y · y^(p − 1) with the largest y, on the other what equal y give (Jensen).
Bounds sum_of_powers(Bounds sum, double n, double log_largest, double p) {
  if (p == 1.0) {
    return sum;
  }
  const auto with_largest = [&](double s) {
    return s > 0.0 ? std::exp(std::log(s) + log_largest * (p - 1.0)) : 0.0;
  };
  const auto of_equals = [&](double s) {
    return s > 0.0 ? n * std::exp(p * std::log(std::min(1.0, s / n))) : 0.0;
  };
  Bounds powers = p > 1.0 ? Bounds{of_equals(sum.low), with_largest(sum.high)}
                          : Bounds{with_largest(sum.low), of_equals(sum.high)};
  powers.high = std::min(powers.high, n * std::exp(p * log_largest));
  powers.low = std::min(powers.low, powers.high);
  return powers;
}

}  // namespace

void validate(const SamplingParams& p) {
  check_range(p.temperature >= 0.0 && std::isfinite(p.temperature), "temperature", p.temperature,
              "0 (greedy) or above");
  check_range(p.top_k >= 0, "top_k", p.top_k, "0 (all tokens) or above");
  check_range(p.top_p > 0.0 && p.top_p <= 1.0, "top_p", p.top_p, "above 0 and at most 1");
  check_range(in(p.min_p, 0.0, 1.0), "min_p", p.min_p, "from 0 to 1");
  // Further out a penalised logit could leave the range of float.
  check_range(in(p.repetition_penalty, 0.01, 100.0), "repetition_penalty", p.repetition_penalty,
              "from 0.01 to 100 (1: none)");
  check_range(in(p.presence_penalty, -2.0, 2.0), "presence_penalty", p.presence_penalty,
              "from -2 to 2");
  check_range(in(p.frequency_penalty, -2.0, 2.0), "frequency_penalty", p.frequency_penalty,
              "from -2 to 2");
  check_range(in(p.logprobs.value_or(0), 0, kMaxLogprobs), "logprobs", p.logprobs.value_or(0),
              "from 0 to 64");
}

double log_sum_exp(std::span<const float> x) {
  const float max = *std::ranges::max_element(x);
  double sum = 0.0;
  for (float value : x) {
    sum += std::exp(value - max);
  }
  return max + std::log(sum);
}

Sampler::Sampler(const SamplingParams& params, uint64_t seed, std::span<const int32_t> prompt)
    : params_(params), seed_(seed) {
  if (penalises()) {
    for (int32_t id : prompt) {
      seen_[id].in_prompt = true;
    }
  }
}

std::optional<SampledToken> Sampler::sample(const RowCandidates& row, int64_t vocab) {
  check_finite(row);
  if (params_.logprobs && std::ssize(row.top) < std::min<int64_t>(*params_.logprobs, vocab)) {
    return std::nullopt;
  }
  const std::optional<int32_t> id = draw(row, vocab);
  if (!id) {
    return std::nullopt;
  }
  return record(*id, std::ranges::find(row.top, *id, &Candidate::id)->logit, row);
}

SampledToken Sampler::sample(const RowCandidates& row, std::span<const float> logits) {
  check_finite(row);
  int32_t id = 0;
  if (penalises()) {
    penalised_.assign(logits.begin(), logits.end());
    for (const auto& [seen_id, seen] : seen_) {
      penalised_[seen_id] = penalised(penalised_[seen_id], seen);
    }
    id = draw(penalised_);
  } else {
    id = draw(logits);
  }
  if (params_.logprobs && std::ssize(row.top) < *params_.logprobs) {
    return record(id, logits[id], {most_likely(logits, *params_.logprobs), row.sum_exp});
  }
  return record(id, logits[id], row);
}

SampledToken Sampler::sample(std::span<const float> logits) {
  const std::vector<Candidate> top = most_likely(logits, std::max(1, params_.logprobs.value_or(0)));
  double sum = 0.0;
  for (float logit : logits) {
    sum += std::exp(double{logit} - double{top.front().logit});
  }
  return sample({top, static_cast<float>(sum)}, logits);
}

// row: with as many candidates as log-probabilities are wanted, or all.
SampledToken Sampler::record(int32_t id, float logit, const RowCandidates& row) {
  SampledToken token;
  token.id = id;
  if (penalises()) {
    ++seen_[id].generated;
  }
  ++generated_;
  if (params_.logprobs) {
    const double norm = double{row.top.front().logit} + std::log(double{row.sum_exp});
    const auto logprob = [&](float x) { return static_cast<float>(double{x} - norm); };
    token.logprob = logprob(logit);
    for (const Candidate& candidate :
         row.top.first(std::min<size_t>(*params_.logprobs, row.top.size()))) {
      token.top.push_back({candidate.id, logprob(candidate.logit)});
    }
  }
  return token;
}

bool Sampler::penalises() const {
  return params_.repetition_penalty != 1.0 || params_.presence_penalty != 0.0 ||
         params_.frequency_penalty != 0.0;
}

float Sampler::penalised(float logit, const Seen& seen) const {
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  logit = logit > 0.0f ? logit / repetition : logit * repetition;
  if (seen.generated > 0) {
    logit -=
        static_cast<float>(params_.presence_penalty + params_.frequency_penalty * seen.generated);
  }
  return logit;
}

bool Sampler::penalties_only_lower() const {
  return params_.repetition_penalty >= 1.0 && params_.presence_penalty >= 0.0 &&
         params_.frequency_penalty >= 0.0;
}

float Sampler::inverse_temperature() const {
  return static_cast<float>(
      std::min(1.0 / params_.temperature, double{std::numeric_limits<float>::max()}));
}

// The whole row's computation, next below, with a beginning of its order and bounds of what is not
// known: each of its steps rises with the sums that go into it, so a result is certain where both
// ends of the bounds give it.
std::optional<int32_t> Sampler::draw(const RowCandidates& row, int64_t vocab) {
  const bool all = std::ssize(row.top) == vocab;
  const Candidate last = row.top.back();
  candidates_.assign(row.top.begin(), row.top.end());
  if (penalises()) {
    if (!all && !penalties_only_lower()) {
      return std::nullopt;  // a token from outside may have risen above them
    }
    for (Candidate& token : candidates_) {
      if (const auto seen = seen_.find(token.id); seen != seen_.end()) {
        token.logit = penalised(token.logit, seen->second);
      }
    }
    std::ranges::sort(candidates_, before);
  }
  // Those that fell behind what was the last one may have fallen behind others, too.
  const auto known_end =
      all ? candidates_.end()
          : std::ranges::partition_point(
                candidates_, [&](const Candidate& token) { return !before(last, token); });
  if (known_end == candidates_.begin()) {
    return std::nullopt;
  }
  if (params_.temperature == 0.0) {
    return candidates_.front().id;
  }
  const float max = candidates_.front().logit;
  const float inverse = inverse_temperature();
  // No other token may be drawn than those in scaled_, which belong to the first candidates_.
  bool complete = all || scale(last.logit, max, inverse) < -kNegligible;
  scaled_.clear();
  for (auto token = candidates_.begin(); token != known_end; ++token) {
    const float scaled = scale(token->logit, max, inverse);
    if (scaled < -kNegligible) {
      complete = true;
      break;
    }
    scaled_.push_back(scaled);
  }

  Bounds rest;  // the weights of all others that may be drawn
  if (!complete) {
    double candidates = 0.0;  // as sum_exp: relative to the row's largest, without penalties
    for (const Candidate& token : row.top) {
      candidates += std::exp(double{token.logit} - double{row.top.front().logit});
    }
    const double others = std::max(0.0, double{row.sum_exp} - candidates);
    const double error = 2.0 * kSumExpError * double{row.sum_exp};
    const double shift = std::exp(double{row.top.front().logit} - double{max});
    rest = sum_of_powers({std::max(0.0, others - error) * shift, (others + error) * shift},
                         static_cast<double>(vocab - std::ssize(row.top)),
                         double{last.logit} - double{max}, double{inverse});
    if (penalises()) {
      rest.low = 0.0;  // some may weigh less; none weighs more
    }
    for (auto token = known_end; token != candidates_.end(); ++token) {
      const double weight = weight_of(scale(token->logit, max, inverse));
      rest.low += weight;
      rest.high += weight;
    }
  }
  if (params_.top_k > 0) {
    if (params_.top_k <= std::ssize(scaled_)) {
      scaled_.resize(params_.top_k);
      complete = true;
      rest = {};
    } else {
      rest.low = 0.0;
    }
  }
  const auto sum = [&] {
    double total = 0.0;
    for (float scaled : scaled_) {
      total += weight_of(scaled);
    }
    return total;
  };
  const double known = sum();
  Bounds total =
      Bounds{known + rest.low, known + rest.high}.within(complete ? kOrderError : kSumExpError);
  if (params_.top_p < 1.0) {
    double kept = 0.0;
    size_t count = 0;
    while (count < scaled_.size() && kept < params_.top_p * total.low) {
      kept += weight_of(scaled_[count++]);
    }
    if (kept < params_.top_p * total.high) {
      return std::nullopt;
    }
    scaled_.resize(count);
    complete = true;
    total = {kept, kept};
  }
  if (params_.min_p > 0.0) {
    const double floor = std::log(params_.min_p);
    const auto below = std::ranges::find_if(scaled_, [&](float scaled) { return scaled < floor; });
    complete = complete || below != scaled_.end();
    scaled_.erase(below, scaled_.end());
    const double kept = sum();
    total = Bounds{kept, complete ? kept : total.high}.within(kOrderError);
  }
  const double random = uniform();
  Bounds left{random * total.low, random * total.high};
  for (size_t i = 0; i < scaled_.size(); ++i) {
    const double weight = weight_of(scaled_[i]);
    left.low -= weight;
    left.high -= weight;
    if (left.high < 0.0) {
      return candidates_[i].id;
    }
    if (left.low < 0.0) {
      break;
    }
  }
  return std::nullopt;
}

// Tokens that may be drawn come in this order: the first kMostCandidates by before(), then the
// others; all by before() where top_p had to order them.
int32_t Sampler::draw(std::span<const float> logits) {
  const auto best = std::ranges::max_element(logits);
  if (params_.temperature == 0.0) {
    return static_cast<int32_t>(best - logits.begin());
  }
  const float max = *best;
  const float inverse = inverse_temperature();
  const auto weight = [&](const Candidate& token) {
    return weight_of(scale(token.logit, max, inverse));
  };
  const auto sum = [&] {
    double total = 0.0;
    for (const Candidate& token : candidates_) {
      total += weight(token);
    }
    return total;
  };
  candidates_.clear();
  for (int64_t i = 0; i < std::ssize(logits); ++i) {
    if (scale(logits[i], max, inverse) >= -kNegligible) {
      candidates_.push_back({static_cast<int32_t>(i), logits[i]});
    }
  }
  if (params_.top_k > 0 && params_.top_k < std::ssize(candidates_)) {
    std::ranges::nth_element(candidates_, candidates_.begin() + params_.top_k, before);
    candidates_.resize(params_.top_k);
  }
  double total = sum();
  bool in_order = false;
  if (params_.top_p < 1.0) {  // the most likely tokens, up to and with the one that reaches top_p
    std::ranges::make_heap(candidates_, after);
    auto heap_end = candidates_.end();
    double kept = 0.0;
    while (heap_end != candidates_.begin() && kept < params_.top_p * total) {
      std::ranges::pop_heap(candidates_.begin(), heap_end, after);
      kept += weight(*--heap_end);
    }
    candidates_.erase(candidates_.begin(), heap_end);
    std::ranges::reverse(candidates_);
    total = kept;
    in_order = true;
  }
  if (params_.min_p > 0.0) {
    const double floor = std::log(params_.min_p);
    std::erase_if(candidates_,
                  [&](const Candidate& token) { return scale(token.logit, max, inverse) < floor; });
    total = sum();
  }
  if (!in_order) {
    const auto end =
        candidates_.begin() + std::min<int64_t>(kMostCandidates, std::ssize(candidates_));
    std::ranges::nth_element(candidates_, end, before);
    std::ranges::sort(candidates_.begin(), end, before);
  }
  double left = uniform() * total;
  for (const Candidate& token : candidates_) {
    left -= weight(token);
    if (left < 0.0) {
      return token.id;
    }
  }
  return candidates_.back().id;  // rounding
}

double Sampler::uniform() const {
  const uint64_t bits = mix(mix(seed_) + static_cast<uint64_t>(generated_));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace hopskip
