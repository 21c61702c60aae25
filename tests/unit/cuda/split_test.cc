#include "kernels/cuda/split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace hopskip::cuda {
namespace {

int64_t items(const SplitProblem& problem, int64_t split_keys) {
  int64_t count = 0;
  for (const KeyRange& keys : problem.keys) {
    count += count_ranges(keys, split_keys) * problem.num_kv_heads;
  }
  return count;
}

// Every item to the slot that is free first, one by one.
int64_t simulated_time(const SplitProblem& problem, int64_t split_keys, int64_t overhead) {
  std::vector<int64_t> costs;
  int64_t most_ranges = 1;
  for (const KeyRange& keys : problem.keys) {
    most_ranges = std::max(most_ranges, count_ranges(keys, split_keys));
    for (int64_t begin = keys.begin / split_keys * split_keys; begin < keys.end;
         begin += split_keys) {
      const int64_t length = std::min(keys.end, begin + split_keys) - std::max(keys.begin, begin);
      costs.insert(costs.end(), problem.num_kv_heads, length + overhead);
    }
  }
  std::sort(costs.rbegin(), costs.rend());
  std::vector<int64_t> slots(problem.slots, 0);
  for (const int64_t cost : costs) {
    *std::min_element(slots.begin(), slots.end()) += cost;
  }
  int64_t merge = 0;
  if (most_ranges > 1) {
    merge = 64;  // the start of the kernel that merges; its first CTA takes rows 0, ranges, …
    for (int64_t row = 0; row < problem.group; row += most_ranges) {
      merge += most_ranges;
    }
  }
  return *std::max_element(slots.begin(), slots.end()) + merge;
}

TEST(Split, CountsTheRangesThatHoldAKey) {
  EXPECT_EQ(count_ranges({0, 1}, 64), 1);
  EXPECT_EQ(count_ranges({0, 64}, 64), 1);
  EXPECT_EQ(count_ranges({0, 65}, 64), 2);
  EXPECT_EQ(count_ranges({63, 65}, 64), 2);
  EXPECT_EQ(count_ranges({64, 128}, 64), 1);
}

TEST(Split, OneLongSequenceFillsAllSlotsOnce) {
  const std::vector<KeyRange> keys = {{0, 132 * 1024}};
  const SplitProblem problem{keys, 1, 8, 64, 132};
  EXPECT_EQ(choose_split_keys(problem), 1024);
}

TEST(Split, ShortSequencesAreNotSplit) {
  const std::vector<KeyRange> keys(500, KeyRange{0, 300});
  const SplitProblem problem{keys, 8, 4, 64, 132};
  EXPECT_EQ(choose_split_keys(problem), 320);
}

TEST(Split, OneLongSequenceAmongShortOnesIsSplit) {
  std::vector<KeyRange> keys(50, KeyRange{0, 500});
  keys.push_back({0, 100000});
  const SplitProblem problem{keys, 2, 4, 64, 132};
  const int64_t split_keys = choose_split_keys(problem);
  EXPECT_LT(split_keys, 5000);
  EXPECT_LT(estimated_time(problem, split_keys), 5000);
}

TEST(Split, ChoicesAreMultiplesAndFit) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<KeyRange> keys(pick(1, 40));
    for (KeyRange& range : keys) {
      range.end = pick(1, round % 2 == 0 ? 500 : 50000);
      range.begin = pick(0, 3) == 0 ? pick(0, range.end - 1) : 0;
    }
    const SplitProblem problem{keys, static_cast<int>(pick(1, 8)), static_cast<int>(pick(1, 16)),
                               static_cast<int>(64 << pick(0, 3)), static_cast<int>(pick(1, 264))};
    const int64_t split_keys = choose_split_keys(problem);
    EXPECT_GT(split_keys, 0);
    EXPECT_EQ(split_keys % problem.multiple, 0);
    EXPECT_LE(items(problem, split_keys),
              max_items(std::ssize(keys), problem.num_kv_heads, problem.slots));
    const int64_t whole = std::ranges::max(keys, {}, &KeyRange::end).end;
    EXPECT_LE(estimated_time(problem, split_keys), estimated_time(problem, whole + 64));
  }
}

// Slots that are free at the same time are one entry; the result is the plain simulation's.
TEST(Split, TheEstimateIsAGreedySchedule) {
  std::mt19937_64 random(5);
  constexpr int64_t kOverhead = 256;
  for (int round = 0; round < 50; ++round) {
    std::vector<KeyRange> keys(1 + round % 7);
    for (KeyRange& range : keys) {
      range.end = std::uniform_int_distribution<int64_t>(1, 9000)(random);
      range.begin = round % 3 == 0 ? range.end / 3 : 0;
    }
    const SplitProblem problem{keys, 1 + round % 4, 4, 64, 1 + round % 40};
    for (const int64_t split_keys : {64, 512, 4096, 9024}) {
      EXPECT_EQ(estimated_time(problem, split_keys),
                simulated_time(problem, split_keys, kOverhead));
    }
  }
}

}  // namespace
}  // namespace hopskip::cuda
