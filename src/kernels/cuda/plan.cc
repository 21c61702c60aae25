#include "kernels/cuda/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention/skip_rule.h"
#include "base/check.h"
#include "kernels/cuda/config_check.h"
#include "kernels/cuda/split.h"

namespace hopskip::cuda {
namespace {

constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
// Of rows, keys and tokens: kernels round them up to tiles in 32 bits.
constexpr int64_t kMaxExtent = int64_t{1} << 30;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Checks of one sequence; errors name it by its number.
class SequenceCheck {
 public:
  SequenceCheck(const AttentionConfig& config, size_t index, const PlannedSequence& sequence)
      : config_(config), index_(index), s_(sequence) {}

  void run() const {
    // First the extents alone, so that no sum below can overflow.
    for (const auto& [name, value] : {std::pair{"q_begin", s_.q_begin},
                                      {"q_len", s_.q_len},
                                      {"kv_len", s_.kv_len},
                                      {"kv_begin", s_.kv_begin}}) {
      require(value >= 0 && value <= kMaxExtent, "{} is {}; it must lie in 0…{}", name, value,
              kMaxExtent);
    }
    require(s_.q_len >= 1, "q_len is 0; leave the sequence out of the plan");
    require(config_.phase == Phase::kPrefill || s_.q_len == 1,
            "q_len is {}; decode takes one query a sequence, use Phase::kPrefill for more",
            s_.q_len);
    require(s_.q_len <= s_.kv_len,
            "q_len {} exceeds kv_len {}; kv_len counts the keys of this step too", s_.q_len,
            s_.kv_len);
    require(s_.q_begin + s_.q_len <= kMaxExtent, "its rows end at {}; at most {} are possible",
            s_.q_begin + s_.q_len, kMaxExtent);
    require(std::isfinite(s_.factor) && s_.factor >= 0.0,
            "factor is {}; it must be finite and not negative (0 is dense)", s_.factor);
    if (config_.page_size > 0) {
      check_pages();
    } else {
      require(s_.pages.empty(), "it has pages, but page_size is 0: keys are contiguous");
      require(s_.kv_begin + s_.kv_len <= kMaxExtent, "its keys end at {}; at most {} are possible",
              s_.kv_begin + s_.kv_len, kMaxExtent);
    }
  }

 private:
  template <typename... Args>
  void require(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition) {
      fail(ErrorCode::kInvalidArgument, "sequence {}: {}", index_,
           fmt::format(format, std::forward<Args>(args)...));
    }
  }

  void check_pages() const {
    require(s_.kv_begin == 0, "kv_begin is {}; with pages it must be 0", s_.kv_begin);
    const int64_t needed = divide_up(s_.kv_len, config_.page_size);
    require(std::ssize(s_.pages) >= needed, "{} pages of {} tokens do not cover kv_len {}; pass {}",
            s_.pages.size(), config_.page_size, s_.kv_len, needed);
    for (int64_t i = 0; i < needed; ++i) {
      require(s_.pages[i] >= 0, "page {} is {}; page ids are not negative", i, s_.pages[i]);
    }
  }

  const AttentionConfig& config_;
  const size_t index_;
  const PlannedSequence& s_;
};

// Rows are written: no two sequences may share one.
void check_rows(std::span<const PlannedSequence> sequences) {
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return sequences[a].q_begin < sequences[b].q_begin; });
  for (size_t i = 1; i < order.size(); ++i) {
    const PlannedSequence& previous = sequences[order[i - 1]];
    const PlannedSequence& next = sequences[order[i]];
    check(previous.q_begin + previous.q_len <= next.q_begin, ErrorCode::kInvalidArgument,
          "sequence {}: q_begin {} lies within the rows {}…{} of sequence {}; each sequence needs "
          "rows of its own",
          order[i], next.q_begin, previous.q_begin, previous.q_begin + previous.q_len - 1,
          order[i - 1]);
  }
}

// The keys that any query of a sequence sees.
KeyRange seen_keys(const AttentionShape& shape, const PlannedSequence& s) {
  const KeyRange first = visible_keys(shape, s.kv_len - s.q_len, s.kv_len);
  return {first.begin, s.kv_len};
}

// Pairs of query and key, about.
double work_of(const AttentionShape& shape, const PlannedSequence& s) {
  const KeyRange first = visible_keys(shape, s.kv_len - s.q_len, s.kv_len);
  const KeyRange last = visible_keys(shape, s.kv_len - 1, s.kv_len);
  return static_cast<double>(s.q_len) *
         static_cast<double>(first.end - first.begin + last.end - last.begin);
}

void add_decode_items(const AttentionConfig& config, const AttentionKernel& kernel, int slots,
                      const std::vector<KeyRange>& seen, StepPlan& plan) {
  const int64_t split_keys =
      choose_split_keys({seen, config.num_kv_heads, config.num_heads / config.num_kv_heads,
                         kernel.split_multiple, slots});
  plan.split_keys = static_cast<int32_t>(split_keys);
  for (size_t i = 0; i < seen.size(); ++i) {
    const int64_t first = seen[i].begin / split_keys;
    const auto ranges = static_cast<int32_t>(count_ranges(seen[i], split_keys));
    // Neighbours read the same pages only in that a page holds all KV heads, so the heads of a
    // sequence follow each other.
    for (int32_t kv_head = 0; kv_head < config.num_kv_heads; ++kv_head) {
      const auto first_item = static_cast<int32_t>(plan.items.size());
      for (int32_t range = 0; range < ranges; ++range) {
        const int64_t begin = (first + range) * split_keys;
        plan.items.push_back({static_cast<int32_t>(i), kv_head, static_cast<int32_t>(begin),
                              static_cast<int32_t>(std::min(begin + split_keys, seen[i].end)),
                              range, ranges, first_item});
      }
    }
  }
  plan.num_items = static_cast<int32_t>(plan.items.size());
}

void lay_out_skip_map(const AttentionConfig& config, std::span<const PlannedSequence> sequences,
                      StepPlan& plan) {
  const TilePlan& tiles = plan.tile_plan;
  int64_t offset = 0;
  for (const PlannedSequence& s : sequences) {
    plan.skip_map_offsets.push_back(offset);
    offset += config.num_heads / tiles.heads * divide_up(s.q_len, tiles.rows) *
              divide_up(s.kv_len, tiles.keys);
  }
  plan.skip_map_offsets.push_back(offset);
  for (Sequence& sequence : plan.sequences) {
    sequence.skip_map = plan.skip_map_offsets[sequence.index];
  }
}

}  // namespace

int64_t decode_capacity(const AttentionConfig& config, int slots) {
  return config.phase == Phase::kDecode
             ? max_items(config.max_sequences, config.num_kv_heads, slots)
             : 0;
}

StepPlan make_step_plan(const AttentionConfig& config, const AttentionKernel& kernel, int slots,
                        std::span<const PlannedSequence> sequences) {
  check(!sequences.empty(), ErrorCode::kInvalidArgument, "a plan needs at least one sequence");
  check(std::ssize(sequences) <= config.max_sequences, ErrorCode::kInvalidArgument,
        "{} sequences exceed max_sequences {} of the config", sequences.size(),
        config.max_sequences);
  for (size_t i = 0; i < sequences.size(); ++i) {
    SequenceCheck(config, i, sequences[i]).run();
  }
  check_rows(sequences);

  const AttentionShape shape = shape_of(config);
  std::vector<int32_t> order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return work_of(shape, sequences[a]) > work_of(shape, sequences[b]);
  });

  StepPlan plan;
  std::vector<KeyRange> seen;
  int64_t prefill_items = 0;
  for (const int32_t index : order) {
    const PlannedSequence& s = sequences[index];
    Sequence& sequence = plan.sequences.emplace_back();
    sequence.q_begin = static_cast<int32_t>(s.q_begin);
    sequence.q_len = static_cast<int32_t>(s.q_len);
    sequence.kv_len = static_cast<int32_t>(s.kv_len);
    sequence.kv_begin = static_cast<int32_t>(s.kv_begin);
    sequence.index = index;
    sequence.first_item = static_cast<int32_t>(prefill_items);
    sequence.threshold_log2 = skip_threshold_log2(s.factor, s.kv_len);
    if (config.page_size > 0) {
      const auto used = s.pages.first(divide_up(s.kv_len, config.page_size));
      check(std::ssize(plan.pages) + std::ssize(used) <= config.max_pages,
            ErrorCode::kInvalidArgument,
            "sequence {}: its {} pages exceed max_pages {} of the config, which all sequences "
            "share",
            index, used.size(), config.max_pages);
      sequence.kv_begin = static_cast<int32_t>(plan.pages.size());
      plan.pages.insert(plan.pages.end(), used.begin(), used.end());
      plan.num_pages = std::max<int64_t>(plan.num_pages, *std::ranges::max_element(used) + 1LL);
    } else {
      plan.kv_tokens = std::max(plan.kv_tokens, s.kv_begin + s.kv_len);
    }
    plan.q_rows = std::max(plan.q_rows, s.q_begin + s.q_len);
    seen.push_back(seen_keys(shape, s));
    if (config.phase == Phase::kPrefill) {
      prefill_items += divide_up(s.q_len, kernel.rows_per_item(config)) * config.num_heads;
      check(prefill_items <= kMax32, ErrorCode::kInvalidArgument,
            "sequence {}: the plan has more than {} work items; plan fewer tokens at once", index,
            kMax32);
    }
  }
  if (config.phase == Phase::kPrefill) {
    plan.num_items = static_cast<int32_t>(prefill_items);
  } else {
    add_decode_items(config, kernel, slots, seen, plan);
  }
  plan.tile_plan = kernel.tile_plan(config, plan.split_keys);
  validate(plan.tile_plan, shape.group());
  lay_out_skip_map(config, sequences, plan);
  return plan;
}

}  // namespace hopskip::cuda
