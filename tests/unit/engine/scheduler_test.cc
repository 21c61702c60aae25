#include "engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace hopskip {
namespace {

struct Planned {
  RequestId id;
  int64_t begin, count;
  Phase phase;
  bool operator==(const Planned&) const = default;
};
void PrintTo(const Planned& p, std::ostream* out) {
  *out << p.id << ": [" << p.begin << ", +" << p.count << ") " << phase_name(p.phase);
}

constexpr Phase kPrefill = Phase::kPrefill;
constexpr Phase kDecode = Phase::kDecode;

// Runs steps; every sequence whose last token was processed gets a new one.
class SchedulerTest : public testing::Test {
 protected:
  Sequence& add(RequestId id, int64_t tokens) {
    std::vector<int32_t> ids(tokens);
    std::iota(ids.begin(), ids.end(), static_cast<int32_t>(100 * id));
    return scheduler_->add(id, ids);
  }
  void make(int64_t pages, const SchedulerOptions& options) {
    pool_.emplace(pages, 4);
    scheduler_.emplace(*pool_, options);
  }
  std::vector<Planned> step() {
    std::vector<Planned> planned;
    for (const Chunk& chunk : scheduler_->schedule()) {
      planned.push_back({chunk.sequence->id, chunk.begin, chunk.count, chunk.phase});
      const bool last = chunk.is_last();
      scheduler_->complete(chunk);
      if (last) {
        chunk.sequence->tokens.push_back(1);
      }
    }
    return planned;
  }

  std::optional<PagePool> pool_;
  std::optional<Scheduler> scheduler_;
};

using testing::ElementsAre;

TEST_F(SchedulerTest, PrefillsInChunksThenDecodes) {
  make(8, {.chunk_tokens = 4, .max_sequences = 2});
  add(1, 10);
  EXPECT_THAT(step(), ElementsAre(Planned{1, 0, 4, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 4, 4, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 8, 2, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 10, 1, kDecode}));
}

TEST_F(SchedulerTest, DecodesBesideThePrefillOfANewcomer) {
  make(16, {.chunk_tokens = 4, .max_sequences = 2});
  add(1, 2);
  add(2, 6);
  EXPECT_THAT(step(), ElementsAre(Planned{1, 0, 2, kPrefill}, Planned{2, 0, 2, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 2, 1, kDecode}, Planned{2, 2, 3, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 3, 1, kDecode}, Planned{2, 5, 1, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 4, 1, kDecode}, Planned{2, 6, 1, kDecode}));
}

TEST_F(SchedulerTest, StartsInOrderOfArrivalEvenIfALaterOneWouldFit) {
  make(4, {.chunk_tokens = 16, .max_sequences = 4});
  add(1, 9);   // 3 pages
  add(2, 12);  // 3 pages: must wait
  add(3, 1);   // would fit
  EXPECT_THAT(step(), ElementsAre(Planned{1, 0, 9, kPrefill}));
  EXPECT_EQ(scheduler_->num_waiting(), 2);
}

TEST_F(SchedulerTest, PreemptsTheYoungestAndRecomputesItWithItsOutput) {
  make(4, {.chunk_tokens = 16, .max_sequences = 4});
  Sequence& first = add(1, 7);
  Sequence& second = add(2, 3);
  EXPECT_THAT(step(), ElementsAre(Planned{1, 0, 7, kPrefill}, Planned{2, 0, 3, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 7, 1, kDecode}, Planned{2, 3, 1, kDecode}));
  // Both need a page more now; one is left, and the older one takes it.
  EXPECT_THAT(step(), ElementsAre(Planned{1, 8, 1, kDecode}));
  EXPECT_EQ(second.preemptions, 1);
  EXPECT_EQ(std::ssize(second.tokens), 5);
  scheduler_->remove(first);
  EXPECT_THAT(step(), ElementsAre(Planned{2, 4, 1, kPrefill}));  // its full page was still there
  EXPECT_EQ(pool_->available(), 2);
}

TEST_F(SchedulerTest, FeedsTokensFromDecodeFromOneByOne) {
  make(8, {.chunk_tokens = 16, .max_sequences = 2});
  add(1, 6).decode_from = 4;
  EXPECT_THAT(step(), ElementsAre(Planned{1, 0, 4, kPrefill}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 4, 1, kDecode}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 5, 1, kDecode}));
  EXPECT_THAT(step(), ElementsAre(Planned{1, 6, 1, kDecode}));
}

TEST_F(SchedulerTest, ReusesAPrefixButComputesTheLastToken) {
  make(16, {.chunk_tokens = 32, .max_sequences = 4});
  Sequence& first = add(1, 8);
  step();
  scheduler_->remove(first);
  Sequence& second = add(2, 0);
  second.tokens.resize(8);
  std::iota(second.tokens.begin(), second.tokens.end(), 100);
  EXPECT_THAT(step(), ElementsAre(Planned{2, 4, 4, kPrefill}));
  EXPECT_EQ(second.reused, 4);
}

TEST_F(SchedulerTest, RemovalGivesPagesBackAtOnce) {
  make(4, {.chunk_tokens = 16, .max_sequences = 4});
  Sequence& running = add(1, 9);
  Sequence& waiting = add(2, 9);
  step();
  EXPECT_EQ(pool_->available(), 1);
  scheduler_->remove(running);
  scheduler_->remove(waiting);
  EXPECT_EQ(pool_->available(), 4);
  EXPECT_THAT(step(), ElementsAre());
}

}  // namespace
}  // namespace hopskip
