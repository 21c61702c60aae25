#include "kernels/cuda/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "attention/skip_rule.h"
#include "hopskip/error.h"
#include "kernels/cuda/config_check.h"
#include "support/error_matchers.h"
#include "unit/cuda/fake_kernel.h"

namespace hopskip::cuda {
namespace {

constexpr int kSlots = 132;

std::vector<int32_t> page_table(int64_t count, int32_t first = 0) {
  std::vector<int32_t> pages(count);
  std::iota(pages.begin(), pages.end(), first);
  return pages;
}

StepPlan plan_of(const AttentionConfig& config, std::vector<PlannedSequence> sequences) {
  return make_step_plan(config, test::fake_kernel(config.phase), kSlots, sequences);
}

TEST(StepPlan, PrefillSortsByWorkAndCountsItems) {
  const std::vector<int32_t> pages = page_table(40);
  const StepPlan plan =
      plan_of(test::valid_config(Phase::kPrefill),
              {{.q_begin = 500, .q_len = 10, .kv_len = 10, .pages = pages},
               {.q_begin = 0, .q_len = 300, .kv_len = 1000, .pages = pages, .factor = 10.0},
               {.q_begin = 300, .q_len = 128, .kv_len = 128, .pages = pages}});
  ASSERT_EQ(plan.sequences.size(), 3u);
  EXPECT_EQ(plan.sequences[0].index, 1);
  EXPECT_EQ(plan.sequences[1].index, 2);
  EXPECT_EQ(plan.sequences[2].index, 0);
  EXPECT_EQ(plan.sequences[0].first_item, 0);
  EXPECT_EQ(plan.sequences[1].first_item, 3 * 8);
  EXPECT_EQ(plan.sequences[2].first_item, 4 * 8);
  EXPECT_EQ(plan.num_items, 5 * 8);
  EXPECT_TRUE(plan.items.empty());
  EXPECT_EQ(plan.sequences[0].threshold_log2, skip_threshold_log2(10.0, 1000));
  EXPECT_EQ(plan.sequences[1].threshold_log2, kDenseThresholdLog2);
  // Only the pages that hold keys are copied, in the order of the sequences.
  EXPECT_EQ(plan.pages.size(), 16u + 2u + 1u);
  EXPECT_EQ(plan.sequences[1].kv_begin, 16);
  EXPECT_EQ(plan.sequences[2].kv_begin, 18);
  EXPECT_EQ(plan.q_rows, 510);
  EXPECT_EQ(plan.num_pages, 16);
  // Skip maps lie in the user's order: heads × row tiles of 64 × key tiles of 16.
  EXPECT_EQ(plan.skip_map_offsets,
            (std::vector<int64_t>{0, 8, 8 + 8 * 5 * 63, 8 + 8 * 5 * 63 + 8 * 2 * 8}));
  EXPECT_EQ(plan.sequences[0].skip_map, 8);
}

// Each key that a query sees is in exactly one item of each KV head.
TEST(StepPlan, DecodeItemsCoverTheVisibleKeysOnce) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100; ++round) {
    AttentionConfig config = test::valid_config(Phase::kDecode);
    config.page_size = 0;
    config.max_pages = 0;
    config.window = round % 3 == 0 ? 1 + round * 37 : 0;
    config.max_sequences = 20;
    std::vector<PlannedSequence> sequences(1 + round % 20);
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].q_begin = static_cast<int64_t>(i);
      sequences[i].kv_len =
          std::uniform_int_distribution<int64_t>(1, round % 2 == 0 ? 300 : 20000)(random);
    }
    const StepPlan plan = plan_of(config, sequences);
    EXPECT_EQ(plan.num_items, std::ssize(plan.items));
    EXPECT_LE(plan.num_items, decode_capacity(config, kSlots));
    EXPECT_EQ(plan.split_keys % 64, 0);
    std::map<std::pair<int32_t, int32_t>, int64_t> covered;
    std::set<int32_t> partials;
    for (size_t i = 0; i < plan.items.size(); ++i) {
      const DecodeItem& item = plan.items[i];
      const Sequence& sequence = plan.sequences[item.sequence];
      const int64_t visible =
          config.window == 0 ? 0 : std::max<int64_t>(0, sequence.kv_len - config.window);
      EXPECT_EQ(item.key_begin % plan.split_keys, 0);
      EXPECT_LE(item.key_end, item.key_begin + plan.split_keys);
      EXPECT_GT(item.key_end, visible) << "an item that sees nothing";
      covered[{item.sequence, item.kv_head}] +=
          item.key_end - std::max<int64_t>(item.key_begin, visible);
      if (item.split > 0) {
        EXPECT_EQ(plan.items[i - 1].split, item.split - 1) << "ranges are consecutive items";
        EXPECT_EQ(plan.items[i - 1].key_end, item.key_begin);
      }
      EXPECT_TRUE(partials.insert(item.first_partial + item.split).second);
      EXPECT_LT(item.first_partial + item.num_splits, decode_capacity(config, kSlots) + 1);
    }
    EXPECT_EQ(covered.size(), sequences.size() * 2);
    for (const auto& [where, keys] : covered) {
      const int64_t kv_len = plan.sequences[where.first].kv_len;
      EXPECT_EQ(keys, config.window == 0 ? kv_len : std::min<int64_t>(kv_len, config.window));
    }
    EXPECT_EQ(plan.tile_plan.split, plan.split_keys);
  }
}

TEST(StepPlan, ErrorsNameSequenceAndField) {
  const AttentionConfig prefill = test::valid_config(Phase::kPrefill);
  const AttentionConfig decode = test::valid_config(Phase::kDecode);
  AttentionConfig contiguous = decode;
  contiguous.page_size = 0;
  contiguous.max_pages = 0;
  const std::vector<int32_t> pages = page_table(10);
  const std::vector<int32_t> negative = {0, -1};
  const std::vector<int32_t> many = page_table(900);
  const PlannedSequence good{.q_len = 1, .kv_len = 100, .pages = pages};
  const auto expect = [&](const AttentionConfig& config, std::vector<PlannedSequence> sequences,
                          const char* message) {
    SCOPED_TRACE(message);
    EXPECT_ERROR(ErrorCode::kInvalidArgument, message, plan_of(config, sequences));
  };
  const auto changed = [&](auto change) {
    PlannedSequence s = good;
    change(s);
    return s;
  };
  expect(prefill, {}, "at least one sequence");
  expect(prefill, std::vector<PlannedSequence>(5, good), "max_sequences 4");
  expect(prefill, {good, good}, "sequence 1: q_begin 0 lies within the rows 0…0 of sequence 0");
  expect(prefill, {changed([](auto& s) { s.q_begin = -1; })}, "sequence 0: q_begin is -1");
  expect(prefill, {changed([](auto& s) { s.q_begin = int64_t{1} << 40; })}, "q_begin is");
  expect(prefill, {changed([](auto& s) { s.q_len = 0; })}, "q_len is 0");
  expect(prefill, {changed([](auto& s) { s.q_len = 101; })}, "q_len 101 exceeds kv_len 100");
  expect(decode, {changed([](auto& s) { s.q_len = 2; })}, "decode takes one query");
  expect(prefill, {changed([](auto& s) { s.kv_len = INT64_MAX; })}, "kv_len is");
  expect(prefill, {changed([](auto& s) { s.kv_len = 641; })}, "do not cover kv_len 641; pass 11");
  expect(prefill, {changed([&](auto& s) { s.pages = negative; })}, "page 1 is -1");
  expect(prefill, {changed([](auto& s) { s.kv_begin = 5; })}, "kv_begin is 5; with pages");
  for (const double factor : {-1.0, std::nan(""), static_cast<double>(INFINITY)}) {
    expect(prefill, {changed([&](auto& s) { s.factor = factor; })}, "factor is");
  }
  expect(contiguous, {good}, "page_size is 0");
  expect(contiguous, {changed([](auto& s) {
           s.pages = {};
           s.kv_begin = -3;
         })},
         "kv_begin is -3");
  const auto long_one = [&](int64_t q_begin) {
    return PlannedSequence{.q_begin = q_begin, .kv_len = 900 * 64, .pages = many};
  };
  expect(decode, {long_one(0), long_one(1)}, "exceed max_pages 1000");
}

TEST(StepPlan, SequencesMayShareKeysButNotRows) {
  const std::vector<int32_t> pages = page_table(10);
  const StepPlan plan =
      plan_of(test::valid_config(Phase::kDecode), {{.q_begin = 7, .kv_len = 640, .pages = pages},
                                                   {.q_begin = 3, .kv_len = 640, .pages = pages}});
  EXPECT_EQ(plan.sequences.size(), 2u);
  EXPECT_EQ(plan.num_pages, 10);
}

}  // namespace
}  // namespace hopskip::cuda
