#include "kernels/cuda/split.h"

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

namespace hopskip::cuda {
namespace {

// What an item costs besides its keys, in keys: to be fetched, to fill its pipeline, to write its
// partial result. About 2 µs of latency, in which a CTA that reads 64 GB/s would have read 128 KB,
// that is 256 keys of K and V in 16 bits at head_dim 128.
constexpr int64_t kItemOverheadKeys = 256;
// What the kernel that merges ranges costs before it merges any: about 3 µs.
constexpr int64_t kMergeStartKeys = 64;

// Items are at most this many rounds of all slots: more rounds even out no better than 8.
constexpr int kMaxRounds = 8;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t count_items(const SplitProblem& problem, int64_t split_keys) {
  int64_t ranges = 0;
  for (const KeyRange& keys : problem.keys) {
    ranges += count_ranges(keys, split_keys);
  }
  return ranges * problem.num_kv_heads;
}

// When each slot becomes free. Equal slots are kept together, so that thousands of items of few
// lengths cost few steps.
class Slots {
 public:
  explicit Slots(int64_t count) { free_[0] = count; }

  // `count` items of `cost`, each to the slot that is free first.
  void add(int64_t count, int64_t cost) {
    while (count > 0) {
      const auto first = free_.begin();
      const int64_t taken = std::min(count, first->second);
      free_[first->first + cost] += taken;
      first->second -= taken;
      if (first->second == 0) {
        free_.erase(first);
      }
      count -= taken;
    }
  }
  int64_t last() const { return free_.rbegin()->first; }

 private:
  std::map<int64_t, int64_t> free_;  // time → slots
};

}  // namespace

int64_t count_ranges(const KeyRange& keys, int64_t split_keys) {
  return (keys.end - 1) / split_keys - keys.begin / split_keys + 1;
}

int64_t max_items(int64_t sequences, int num_kv_heads, int slots) {
  return std::max(sequences * num_kv_heads, int64_t{kMaxRounds} * slots);
}

int64_t estimated_time(const SplitProblem& problem, int64_t split_keys) {
  int64_t whole = 0;
  int64_t most_ranges = 1;
  std::vector<int64_t> parts;
  for (const KeyRange& keys : problem.keys) {
    const int64_t ranges = count_ranges(keys, split_keys);
    most_ranges = std::max(most_ranges, ranges);
    if (ranges == 1) {
      parts.push_back(keys.end - keys.begin);
      continue;
    }
    whole += ranges - 2;
    parts.push_back(split_keys - keys.begin % split_keys);
    parts.push_back((keys.end - 1) % split_keys + 1);
  }
  std::sort(parts.begin(), parts.end(), std::greater<>());
  Slots slots(problem.slots);
  slots.add(whole * problem.num_kv_heads, split_keys + kItemOverheadKeys);
  for (const int64_t part : parts) {
    slots.add(problem.num_kv_heads, part + kItemOverheadKeys);
  }
  // The kernel that merges ranges: a CTA for each range shares the group's rows with the others. A
  // row of a range is floats, as many bytes as a key has in K and V of 16 bits.
  const int64_t merge =
      most_ranges > 1 ? kMergeStartKeys + divide_up(problem.group, most_ranges) * most_ranges : 0;
  return slots.last() + merge;
}

int64_t choose_split_keys(const SplitProblem& problem) {
  int64_t end = 1;
  int64_t total = 0;
  for (const KeyRange& keys : problem.keys) {
    end = std::max(end, keys.end);
    total += (keys.end - keys.begin) * problem.num_kv_heads;
  }
  const int64_t whole = divide_up(end, problem.multiple);  // in multiples: no split
  int64_t best = whole * problem.multiple;
  int64_t best_time = estimated_time(problem, best);
  int64_t last_tried = whole;
  for (int rounds = 1; rounds <= kMaxRounds; ++rounds) {
    const int64_t limit = int64_t{rounds} * problem.slots;
    // The smallest split with at most `limit` items.
    int64_t low = std::clamp<int64_t>(total / limit / problem.multiple, 1, whole);
    int64_t high = whole;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (count_items(problem, middle * problem.multiple) <= limit) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    const int64_t split_keys = low * problem.multiple;
    if (low == last_tried || count_items(problem, split_keys) > limit) {
      continue;
    }
    last_tried = low;
    const int64_t time = estimated_time(problem, split_keys);
    if (time < best_time) {
      best = split_keys;
      best_time = time;
    }
  }
  return best;
}

}  // namespace hopskip::cuda
