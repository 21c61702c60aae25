#include "models/layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double wavelength = kTwoPi / frequency;
  const double original = static_cast<double>(scaling.original_max_position);
  if (wavelength < original / scaling.high_freq_factor) {
    return frequency;
  }
  if (wavelength > original / scaling.low_freq_factor) {
    return frequency / scaling.factor;
  }
  const double kept = (original / wavelength - scaling.low_freq_factor) /
                      (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - kept) * frequency / scaling.factor + kept * frequency;
}

// YaRN's ramp: pairs up to `low` keep their frequency, pairs from `high` on are divided.
struct YarnRamp {
  double low, high;

  YarnRamp(const RopeScaling& scaling, double head_dim, double theta) {
    // The pair that turns `rotations` times over the original context.
    const auto pair_of = [&](double rotations) {
      return head_dim *
             std::log(static_cast<double>(scaling.original_max_position) / (rotations * kTwoPi)) /
             (2.0 * std::log(theta));
    };
    low = pair_of(scaling.beta_fast);
    high = pair_of(scaling.beta_slow);
    if (scaling.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, head_dim - 1.0);
    if (low == high) {
      high += 0.001;  // no division by zero; as published
    }
  }

  double divided_share(double pair) const {
    return std::clamp((pair - low) / (high - low), 0.0, 1.0);
  }
};

}  // namespace

Rope make_rope(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const int64_t pairs = config.head_dim / 2;
  const std::vector<float>& factors = config.rope_freq_factors;
  check(factors.empty() || std::ssize(factors) == pairs, ErrorCode::kCorrupt,
        "rope_freqs has {} values, head_dim {} asks for {}", factors.size(), config.head_dim,
        pairs);

  const YarnRamp ramp(scaling, static_cast<double>(config.head_dim), config.rope_theta);
  Rope rope;
  rope.interleaved = config.rope_interleaved;
  for (int64_t i = 0; i < pairs; ++i) {
    double frequency = std::pow(
        config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    switch (scaling.type) {
      case RopeScalingType::kNone:
        break;
      case RopeScalingType::kLinear:
        frequency /= scaling.factor;
        break;
      case RopeScalingType::kLlama3:
        frequency = llama3_frequency(frequency, scaling);
        break;
      case RopeScalingType::kYarn: {
        const double divided = ramp.divided_share(static_cast<double>(i));
        frequency = frequency / scaling.factor * divided + frequency * (1.0 - divided);
        break;
      }
    }
    rope.inv_freq.push_back(
        static_cast<float>(factors.empty() ? frequency : frequency / factors[i]));
  }
  if (scaling.type == RopeScalingType::kYarn) {
    rope.magnitude = static_cast<float>(scaling.attention_factor);
  }
  return rope;
}

}  // namespace hopskip
