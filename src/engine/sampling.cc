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

bool more_likely(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob > b.logprob || (a.logprob == b.logprob && a.id < b.id);
}
bool less_likely(const TokenLogprob& a, const TokenLogprob& b) { return more_likely(b, a); }

int32_t arg_max(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

std::vector<TokenLogprob> most_likely(std::span<const float> logits, int count, double norm) {
  std::vector<TokenLogprob> top;  // a heap, the least likely in front
  for (int64_t i = 0; i < std::ssize(logits) && count > 0; ++i) {
    const TokenLogprob token{static_cast<int32_t>(i), logits[i]};
    if (std::ssize(top) == count) {
      if (!more_likely(token, top.front())) {
        continue;
      }
      std::ranges::pop_heap(top, more_likely);
      top.pop_back();
    }
    top.push_back(token);
    std::ranges::push_heap(top, more_likely);
  }
  std::ranges::sort_heap(top, more_likely);
  for (TokenLogprob& token : top) {
    token.logprob = static_cast<float>(token.logprob - norm);
  }
  return top;
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

SampledToken Sampler::sample(std::span<const float> logits) {
  SampledToken token;
  if (penalises()) {
    penalised_.assign(logits.begin(), logits.end());
    penalise(penalised_);
    token.id = draw(penalised_);
    ++seen_[token.id].generated;
  } else {
    token.id = draw(logits);
  }
  ++generated_;
  if (params_.logprobs) {
    const double norm = log_sum_exp(logits);
    token.logprob = static_cast<float>(logits[token.id] - norm);
    token.top = most_likely(logits, *params_.logprobs, norm);
  }
  return token;
}

bool Sampler::penalises() const {
  return params_.repetition_penalty != 1.0 || params_.presence_penalty != 0.0 ||
         params_.frequency_penalty != 0.0;
}

void Sampler::penalise(std::span<float> logits) const {
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  for (const auto& [id, seen] : seen_) {
    float& logit = logits[id];
    logit = logit > 0.0f ? logit / repetition : logit * repetition;
    if (seen.generated > 0) {
      logit -=
          static_cast<float>(params_.presence_penalty + params_.frequency_penalty * seen.generated);
    }
  }
}

int32_t Sampler::draw(std::span<const float> logits) {
  const int32_t best = arg_max(logits);
  const float max = logits[best];
  check(std::isfinite(max), ErrorCode::kCorrupt,
        "the model computes logits that are not finite: its weights are damaged");
  if (params_.temperature == 0.0) {
    return best;
  }
  // candidates_[i].logprob: log-probability up to a constant, at most 0.
  const auto inverse_temperature = static_cast<float>(
      std::min(1.0 / params_.temperature, double{std::numeric_limits<float>::max()}));
  candidates_.clear();
  for (int64_t i = 0; i < std::ssize(logits); ++i) {
    const float scaled = (logits[i] - max) * inverse_temperature;
    if (scaled >= -kNegligible) {
      candidates_.push_back({static_cast<int32_t>(i), scaled});
    }
  }
  if (params_.top_k > 0 && params_.top_k < std::ssize(candidates_)) {
    const auto end = candidates_.begin() + params_.top_k;
    std::ranges::nth_element(candidates_, end, more_likely);
    candidates_.erase(end, candidates_.end());
  }
  double total = 0.0;
  for (const TokenLogprob& token : candidates_) {
    total += std::exp(token.logprob);
  }
  if (params_.top_p < 1.0) {  // the most likely tokens, up to and with the one that reaches top_p
    std::ranges::make_heap(candidates_, less_likely);
    auto heap_end = candidates_.end();
    double kept = 0.0;
    while (heap_end != candidates_.begin() && kept < params_.top_p * total) {
      std::ranges::pop_heap(candidates_.begin(), heap_end, less_likely);
      kept += std::exp((--heap_end)->logprob);
    }
    candidates_.erase(candidates_.begin(), heap_end);
    total = kept;
  }
  if (params_.min_p > 0.0) {
    const double floor = std::log(params_.min_p);
    std::erase_if(candidates_, [&](const TokenLogprob& token) { return token.logprob < floor; });
    total = 0.0;
    for (const TokenLogprob& token : candidates_) {
      total += std::exp(token.logprob);
    }
  }
  double left = uniform() * total;
  for (const TokenLogprob& token : candidates_) {
    left -= std::exp(token.logprob);
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
