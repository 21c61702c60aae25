// A token that a row's candidates give is the token that the whole row gives, log-probabilities
// included: over random rows, parameters, histories and seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "engine/sampling.h"

namespace hopskip {
namespace {

class SamplingProperty : public testing::Test {
 protected:
  double real(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  int64_t integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[integer(0, std::ssize(values) - 1)];
  }

  // Peaked or flat, with ties or without, with excluded tokens or without.
  std::vector<float> make_row() {
    const int64_t vocab = one_of<int64_t>({1, 5, 127, 128, 129, 300, 2000, 6000});
    std::normal_distribution<double> normal(real(-20.0, 20.0), one_of({0.0, 0.3, 2.0, 4.0, 9.0}));
    const double grid = one_of({0.0, 0.0, 0.0625, 1.0});
    const double excluded = one_of({0.0, 0.0, 0.3, 0.99});
    std::vector<float> row(vocab);
    for (float& x : row) {
      const double value = normal(random_);
      x = static_cast<float>(grid > 0.0 ? std::round(value / grid) * grid : value);
      if (chance(excluded)) {
        x = -std::numeric_limits<float>::infinity();
      }
    }
    row[integer(0, vocab - 1)] = static_cast<float>(real(-5.0, 40.0));
    return row;
  }

  SamplingParams make_params() {
    SamplingParams p;
    p.temperature = one_of({0.0, 1e-40, 0.05, 0.6, 0.9, 1.0, 1.0, 1.0, 1.2, 3.0, 100.0});
    p.top_k = one_of({0, 0, 0, 1, 20, 64, 127, 128, 129, 1000});
    p.top_p = one_of({1.0, 1.0, 0.05, 0.5, 0.9, 0.999999});
    p.min_p = one_of({0.0, 0.0, 0.0, 1e-6, 0.05, 1.0});
    if (chance(0.4)) {
      p.repetition_penalty = one_of({1.0, 1.1, 2.0, 100.0, 0.8});
      p.presence_penalty = one_of({0.0, 0.5, 2.0, -1.0});
      p.frequency_penalty = one_of({0.0, 0.3, 2.0, -0.5});
    }
    if (chance(0.5)) {
      p.logprobs = one_of({0, 1, 5, 64});
    }
    return p;
  }

  // In `kept` the candidates; the sum is as far off as a backend's may be.
  RowCandidates candidates(const std::vector<float>& row, int64_t count,
                           std::vector<Candidate>& kept) {
    kept.clear();
    for (int64_t i = 0; i < std::ssize(row); ++i) {
      kept.push_back({static_cast<int32_t>(i), row[i]});
    }
    count = std::min(count, std::ssize(kept));
    std::ranges::partial_sort(kept, kept.begin() + count, before);
    double sum = 0.0;
    for (float x : row) {
      sum += std::exp(double{x} - double{kept.front().logit});
    }
    kept.resize(count);
    return {kept, static_cast<float>(sum * (1.0 + 0.99 * real(-kSumExpError, kSumExpError)))};
  }

  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
};

TEST_F(SamplingProperty, CandidatesGiveWhatTheWholeRowGives) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  int64_t decided = 0;
  int64_t small = 0;  // greedy, or top_k within the candidates: always decided
  int64_t small_decided = 0;
  int64_t tries = 0;
  std::vector<Candidate> kept;
  for (int round = 0; round < 1500; ++round) {
    const SamplingParams params = make_params();
    std::vector<float> row = make_row();
    std::vector<int32_t> prompt;
    for (int64_t i = integer(0, 40); i > 0; --i) {
      prompt.push_back(static_cast<int32_t>(integer(0, std::ssize(row) - 1)));
    }
    const uint64_t seed = random_();
    Sampler by_candidates(params, seed, prompt);
    Sampler by_row(params, seed, prompt);
    for (int step = 0; step < 12; ++step) {
      const RowCandidates top = candidates(row, one_of<int64_t>({16, 64, 128, 128, 128}), kept);
      std::optional<SampledToken> got = by_candidates.sample(top, std::ssize(row));
      const SampledToken want = by_row.sample(top, row);
      ++tries;
      const bool is_small =
          params.repetition_penalty == 1.0 && params.presence_penalty == 0.0 &&
          params.frequency_penalty == 0.0 && std::ssize(kept) >= params.logprobs.value_or(0) &&
          (params.temperature == 0.0 ||
           (params.top_k > 0 && params.top_k <= std::ssize(kept) && params.top_p == 1.0));
      small += is_small;
      if (got) {
        ++decided;
        small_decided += is_small;
      } else {  // nothing was recorded: the row still gives the same
        got = by_candidates.sample(top, row);
      }
      ASSERT_EQ(got->id, want.id) << "round " << round << ", step " << step;
      ASSERT_EQ(got->logprob, want.logprob);
      ASSERT_EQ(got->top.size(), want.top.size());
      for (size_t i = 0; i < want.top.size(); ++i) {
        ASSERT_EQ(got->top[i].id, want.top[i].id);
        ASSERT_EQ(got->top[i].logprob, want.top[i].logprob);
      }
      if (chance(0.3)) {
        std::ranges::shuffle(row, random_);
      }
    }
  }
  EXPECT_EQ(small_decided, small);
  EXPECT_GT(small, 1000);
  EXPECT_GT(decided, tries / 2);
}

// Rows as a language model gives them: candidates decide nearly always.
TEST_F(SamplingProperty, RowsOfLanguageModelsAreSeldomNeeded) {
  SCOPED_TRACE(testing::Message() << "seed " << seed_);
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.temperature = 0.7}, SamplingParams{.top_p = 0.95},
        SamplingParams{.temperature = 0.6, .top_k = 20, .top_p = 0.95},
        SamplingParams{.min_p = 0.05},
        SamplingParams{.temperature = 0.7, .top_p = 0.9, .presence_penalty = 1.0}}) {
    int decided = 0;
    constexpr int kRows = 100;
    std::vector<Candidate> kept;
    for (int i = 0; i < kRows; ++i) {
      std::vector<float> row(30000);
      // A Zipf-like tail: the r-th token about 2.2 · ln r below the first.
      for (size_t r = 0; r < row.size(); ++r) {
        row[r] = static_cast<float>(-2.2 * std::log(1.0 + static_cast<double>(r)) + real(-1, 1));
      }
      std::ranges::shuffle(row, random_);
      Sampler sampler(params, random_(), {});
      decided += sampler.sample(candidates(row, kMostCandidates, kept), 30000).has_value();
    }
    EXPECT_GE(decided, kRows * 9 / 10)
        << "temperature " << params.temperature << ", top_p " << params.top_p;
  }
}

// A top_p that is reached just inside or just outside of the candidates, and sums at both ends of
// what a backend may give.
TEST_F(SamplingProperty, EdgesOfTopPAreLeftToTheRow) {
  constexpr int64_t kVocab = 400;
  std::vector<float> row(kVocab);
  for (int64_t i = 0; i < kVocab; ++i) {
    row[i] = -0.01f * static_cast<float>(i);
  }
  std::vector<double> mass{0.0};
  for (float x : row) {
    mass.push_back(mass.back() + std::exp(double{x}));
  }
  std::vector<Candidate> kept;
  int undecided = 0;
  int decided = 0;
  for (int64_t end = 100; end < 160; ++end) {
    for (double off : {-3e-5, -1e-5, -1e-7, 0.0, 1e-7, 1e-5, 3e-5}) {
      const SamplingParams params{.top_p = mass[end] / mass.back() * (1.0 + off)};
      const RowCandidates top = candidates(row, 128, kept);
      for (uint64_t seed = 0; seed < 20; ++seed) {
        Sampler by_candidates(params, seed, {});
        Sampler by_row(params, seed, {});
        const auto got = by_candidates.sample(top, kVocab);
        const SampledToken want = by_row.sample(row);
        (got ? decided : undecided) += 1;
        if (got) {
          ASSERT_EQ(got->id, want.id);
          ASSERT_LE(end, 129);
        }
      }
    }
  }
  EXPECT_GT(decided, 0);
  EXPECT_GT(undecided, 0);
}

}  // namespace
}  // namespace hopskip
