#include "engine/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/error_matchers.h"

namespace hopskip {
namespace {

const std::vector<float> kLogits{std::log(0.15f), std::log(0.5f), std::log(0.05f), std::log(0.3f)};

// Pearson's χ² of `draws` tokens against the expected distribution; every token of probability 0
// must not occur.
double chi_square(const SamplingParams& params, const std::vector<double>& expected,
                  int draws = 20000) {
  Sampler sampler(params, 12345, {});
  std::vector<int> seen(expected.size());
  for (int i = 0; i < draws; ++i) {
    ++seen.at(sampler.sample(kLogits).id);
  }
  double sum = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == 0.0) {
      EXPECT_EQ(seen[i], 0) << "token " << i;
      continue;
    }
    const double wanted = expected[i] * draws;
    sum += (seen[i] - wanted) * (seen[i] - wanted) / wanted;
  }
  return sum;
}

constexpr double kLimit = 16.3;  // χ² with 3 degrees of freedom is above it once in a thousand

TEST(Sampler, DrawsFromTheSoftmax) {
  EXPECT_LT(chi_square({}, {0.15, 0.5, 0.05, 0.3}), kLimit);
  EXPECT_GT(chi_square({}, {0.16, 0.48, 0.07, 0.29}), kLimit);  // the test can tell
}

TEST(Sampler, TemperatureSharpens) {
  const double norm = 0.15 * 0.15 + 0.5 * 0.5 + 0.05 * 0.05 + 0.3 * 0.3;
  EXPECT_LT(
      chi_square({.temperature = 0.5}, {0.0225 / norm, 0.25 / norm, 0.0025 / norm, 0.09 / norm}),
      kLimit);
}

TEST(Sampler, TheSmallestTemperatureIsGreedy) {
  for (double temperature : {1e-40, 5e-324}) {
    EXPECT_LT(chi_square({.temperature = temperature}, {0.0, 1.0, 0.0, 0.0}, 10), kLimit);
  }
}

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (double temperature : {0.0, 1.0}) {
    for (float bad : {infinity, -infinity, std::nanf("")}) {
      Sampler sampler({.temperature = temperature}, 1, {});
      EXPECT_ERROR(ErrorCode::kCorrupt, "not finite", sampler.sample(std::vector<float>(3, bad)));
    }
  }
}

TEST(Sampler, TopKKeepsTheMostLikely) {
  EXPECT_LT(chi_square({.top_k = 2}, {0.0, 0.625, 0.0, 0.375}), kLimit);
  EXPECT_LT(chi_square({.top_k = 9}, {0.15, 0.5, 0.05, 0.3}), kLimit);
}

TEST(Sampler, TopPKeepsTheTokenThatReachesIt) {
  EXPECT_LT(chi_square({.top_p = 0.51}, {0.0, 0.625, 0.0, 0.375}), kLimit);
  EXPECT_LT(chi_square({.top_p = 0.49}, {0.0, 1.0, 0.0, 0.0}), kLimit);
  // After top-k the rest is a distribution again: 0.625 reaches 0.6.
  EXPECT_LT(chi_square({.top_k = 2, .top_p = 0.6}, {0.0, 1.0, 0.0, 0.0}), kLimit);
}

TEST(Sampler, MinPIsRelativeToTheMostLikely) {
  EXPECT_LT(chi_square({.min_p = 0.29}, {0.15 / 0.95, 0.5 / 0.95, 0.0, 0.3 / 0.95}), kLimit);
  EXPECT_LT(chi_square({.min_p = 1.0}, {0.0, 1.0, 0.0, 0.0}), kLimit);
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  Sampler sampler({.temperature = 0.0}, 1, {});
  EXPECT_EQ(sampler.sample(std::vector<float>{1.0f, 3.0f, 3.0f}).id, 1);
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegativeLogits) {
  const SamplingParams params{.temperature = 0.0, .repetition_penalty = 2.0};
  const std::vector<int32_t> prompt{0};
  Sampler positive(params, 1, prompt);
  EXPECT_EQ(positive.sample(std::vector<float>{4.0f, 2.1f}).id, 1);  // 4 / 2 < 2.1
  EXPECT_EQ(positive.sample(std::vector<float>{4.0f, 3.9f}).id, 0);  // both seen now
  Sampler negative(params, 1, prompt);
  EXPECT_EQ(negative.sample(std::vector<float>{-1.0f, -1.9f}).id, 1);  // −1 · 2 < −1.9
}

TEST(Sampler, PresenceCountsOnceAndFrequencyEachTimeInTheOutputOnly) {
  const std::vector<float> logits{1.0f, 0.4f};
  const std::vector<int32_t> prompt{0, 0, 0};
  Sampler presence({.temperature = 0.0, .presence_penalty = 0.5}, 1, prompt);
  EXPECT_EQ(presence.sample(logits).id, 0);
  EXPECT_EQ(presence.sample(logits).id, 0);  // 0.5 > 0.4, and stays there
  EXPECT_EQ(presence.sample(logits).id, 0);
  Sampler frequency({.temperature = 0.0, .frequency_penalty = 0.5}, 1, prompt);
  EXPECT_EQ(frequency.sample(logits).id, 0);
  EXPECT_EQ(frequency.sample(logits).id, 0);
  EXPECT_EQ(frequency.sample(logits).id, 1);  // 1 − 2 · 0.5 < 0.4
}

TEST(Sampler, SeedsReproduceAndDiffer) {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({}, seed, {});
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i) {
      ids.push_back(sampler.sample(kLogits).id);
    }
    return ids;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Sampler, ReportsTheModelsOwnLogprobs) {
  Sampler sampler({.temperature = 0.0, .presence_penalty = 2.0, .logprobs = 2}, 1, {});
  std::vector<float> shifted;
  for (float logit : kLogits) {
    shifted.push_back(logit + 3.0f);
  }
  sampler.sample(shifted);
  const SampledToken token = sampler.sample(shifted);
  EXPECT_EQ(token.id, 3);
  EXPECT_NEAR(token.logprob, std::log(0.3), 1e-5);
  ASSERT_EQ(token.top.size(), 2u);
  EXPECT_EQ(token.top[0].id, 1);
  EXPECT_NEAR(token.top[0].logprob, std::log(0.5), 1e-5);
  EXPECT_EQ(token.top[1].id, 3);
}

TEST(Sampler, RefusesParametersOutOfRange) {
  constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
  EXPECT_NO_THROW(validate(SamplingParams{}));
  EXPECT_ERROR(kInvalid, "temperature is -1", validate({.temperature = -1.0}));
  EXPECT_ERROR(kInvalid, "temperature", validate({.temperature = std::nan("")}));
  EXPECT_ERROR(kInvalid, "top_k", validate({.top_k = -1}));
  EXPECT_ERROR(kInvalid, "top_p", validate({.top_p = 0.0}));
  EXPECT_ERROR(kInvalid, "min_p", validate({.min_p = 1.5}));
  EXPECT_ERROR(kInvalid, "repetition_penalty", validate({.repetition_penalty = 0.0}));
  EXPECT_ERROR(kInvalid, "repetition_penalty", validate({.repetition_penalty = 1e-300}));
  EXPECT_ERROR(kInvalid, "presence_penalty", validate({.presence_penalty = 3.0}));
  EXPECT_ERROR(kInvalid, "frequency_penalty", validate({.frequency_penalty = std::nan("")}));
  EXPECT_ERROR(kInvalid, "logprobs", validate({.logprobs = 65}));
}

}  // namespace
}  // namespace hopskip
