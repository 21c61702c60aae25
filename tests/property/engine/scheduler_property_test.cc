// A million random steps of scheduler and page pool, each checked against what must always hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "engine/scheduler.h"

namespace hopskip {
namespace {

constexpr int kPageSize = 4;
constexpr int64_t kPages = 24;
constexpr int64_t kMaxTokens = kPages * kPageSize;
constexpr SchedulerOptions kOptions{.chunk_tokens = 16, .max_sequences = 5};

// What a token's K and V would depend on: every token up to it, and the salt.
uint64_t extend(uint64_t state, int32_t token) {
  return (state ^ static_cast<uint64_t>(token + 1)) * 0x9e3779b97f4a7c15u + 1;
}

class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {}

  void random_step() {
    if (live_.size() < 12 && chance(0.3)) {
      add();
    }
    if (!live_.empty() && chance(0.01)) {  // cancel
      auto victim = live_.begin();
      std::advance(victim, pick(0, std::ssize(live_) - 1));
      remove(victim->first);
    }
    step();
  }

  void step() {
    const std::span<const Chunk> chunks = scheduler_.schedule();
    if (live_.empty()) {
      ASSERT_TRUE(chunks.empty());
      return;
    }
    // No starvation: the oldest sequence moves in every step.
    ASSERT_FALSE(chunks.empty());
    ASSERT_EQ(chunks.front().sequence->id, live_.begin()->first);
    check_pages();
    int64_t tokens = 0;
    std::vector<RequestId> done;
    for (size_t i = 0; i < chunks.size(); ++i) {
      const Chunk& chunk = chunks[i];
      Sequence& sequence = *chunk.sequence;
      ASSERT_TRUE(i == 0 || chunks[i - 1].sequence->id < sequence.id);
      ASSERT_GT(chunk.count, 0);
      ASSERT_EQ(chunk.begin, sequence.computed);
      ASSERT_LE(chunk.end(), std::min(std::ssize(sequence.tokens), sequence.pages.capacity()));
      tokens += chunk.count;
      process(chunk);
      const bool last = chunk.is_last();
      scheduler_.complete(chunk);
      if (last) {
        if (std::ssize(sequence.tokens) == live_.at(sequence.id).max_tokens) {
          done.push_back(sequence.id);
        } else {
          sequence.tokens.push_back(random_token());
        }
      }
    }
    ASSERT_LE(tokens, kOptions.chunk_tokens);
    for (RequestId id : done) {
      remove(id);
      ++finished_;
    }
  }

  bool empty() const { return live_.empty(); }
  int64_t finished() const { return finished_; }
  int64_t preempted() const { return preempted_; }
  int64_t reused() const { return reused_; }
  int64_t available() const { return pool_.available(); }

 private:
  struct Live {
    Sequence* sequence;
    int64_t max_tokens;
  };

  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  int32_t random_token() { return static_cast<int32_t>(pick(0, 1)); }

  void add() {
    std::vector<int32_t> prompt(pick(1, chance(0.05) ? kMaxTokens - 1 : 20));
    const bool common = chance(0.7);  // many share long prefixes
    for (int32_t& token : prompt) {
      token = common ? 0 : random_token();
    }
    const RequestId id = next_id_++;
    const int64_t length = std::ssize(prompt);
    Sequence& sequence = scheduler_.add(id, std::move(prompt));
    sequence.share = chance(0.9);
    sequence.salt = pick(0, 1);
    if (chance(0.1)) {
      sequence.decode_from = pick(0, length);
    }
    live_[id] = {&sequence, std::min(kMaxTokens, length + pick(0, 30))};
  }

  void remove(RequestId id) {
    const Sequence& sequence = *live_.at(id).sequence;
    preempted_ += sequence.preemptions;
    reused_ += sequence.reused;
    scheduler_.remove(sequence);
    live_.erase(id);
  }

  // No page is lost, and none that is written to has a second user.
  void check_pages() {
    users_.assign(kPages, 0);
    for (const auto& [id, live] : live_) {
      for (int32_t page : live.sequence->pages.pages()) {
        ++users_[page];
      }
    }
    ASSERT_EQ(std::ranges::count(users_, 0), pool_.available());
  }

  // Writes the chunk's K and V, and reads all before it.
  void process(const Chunk& chunk) {
    const Sequence& sequence = *chunk.sequence;
    uint64_t state = sequence.salt;
    for (int64_t i = 0; i < chunk.end(); ++i) {
      state = extend(state, sequence.tokens[i]);
      const int32_t page = sequence.pages.pages()[i / kPageSize];
      uint64_t& slot = memory_[page * kPageSize + i % kPageSize];
      if (i >= chunk.begin) {
        ASSERT_EQ(users_[page], 1);
        slot = state;
      } else {
        ASSERT_EQ(slot, state) << "sequence " << sequence.id << " reads position " << i;
      }
    }
  }

  std::mt19937 random_;
  PagePool pool_{kPages, kPageSize};
  Scheduler scheduler_{pool_, kOptions};
  std::map<RequestId, Live> live_;
  std::vector<int> users_;
  std::vector<uint64_t> memory_ = std::vector<uint64_t>(kMaxTokens);
  RequestId next_id_ = 1;
  int64_t finished_ = 0, preempted_ = 0, reused_ = 0;
};

TEST(SchedulerProperty, AMillionRandomStepsKeepEveryLaw) {
  Simulation simulation(1);
  for (int i = 0; i < 1'000'000; ++i) {
    simulation.random_step();
    if (HasFatalFailure()) {
      FAIL() << "step " << i;
    }
  }
  EXPECT_GT(simulation.finished(), 50'000);
  EXPECT_GT(simulation.preempted(), 10'000);
  EXPECT_GT(simulation.reused(), 100'000);
  for (int i = 0; i < 10'000 && !simulation.empty(); ++i) {  // without newcomers all come to an end
    simulation.step();
  }
  EXPECT_TRUE(simulation.empty());
  EXPECT_EQ(simulation.available(), kPages);
}

}  // namespace
}  // namespace hopskip
