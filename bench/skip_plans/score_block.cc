#include "skip_plans/score_block.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "attention/skip_rule.h"
#include "base/check.h"

namespace hopskip {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct Visit {
  int64_t begin = 0;     // the span's first unit
  bool restart = false;  // a split begins with it
};

// The spans of `units` units in the order of `plan`.
std::vector<Visit> visits(const TilePlan& plan, int64_t units) {
  const int64_t span = plan.span / ScoreBlock::kUnitKeys;
  const int64_t split = plan.split > 0 ? plan.split / ScoreBlock::kUnitKeys : units;
  std::vector<Visit> list;
  for (int64_t begin = 0; begin < units; begin += split) {
    const int64_t first = begin / span;
    const int64_t last = (std::min(units, begin + split) - 1) / span;
    for (int64_t visit = 0; visit <= last - first; ++visit) {
      list.push_back({visited_span(plan.order, visit, first, last) * span, visit == 0});
    }
  }
  return list;
}

}  // namespace

ScoreBlock::ScoreBlock(const AttentionShape& shape, const float* q, int64_t tokens, const float* k,
                       int64_t keys, int64_t first_row, int64_t rows)
    : heads_(shape.num_heads), rows_(rows) {
  const int64_t last_position = keys - tokens + first_row + rows - 1;
  units_ = last_position / kUnitKeys + 1;
  max_.assign(heads_ * rows_ * units_, kMinusInfinity);
  mass_.assign(max_.size(), 0.0f);
  const int d = shape.head_dim;
  const float scale = shape.scale * std::numbers::log2e_v<float>;
  // Keys of one KV head transposed, so that the inner loop runs over keys.
  const int64_t padded = units_ * kUnitKeys;
  std::vector<float> kt(padded * d);
  std::vector<float> scores(padded);
  for (int kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
    for (int64_t key = 0; key <= last_position; ++key) {
      for (int i = 0; i < d; ++i) {
        kt[i * padded + key] = k[(key * shape.num_kv_heads + kv_head) * d + i];
      }
    }
    for (int head = kv_head * shape.group(); head < (kv_head + 1) * shape.group(); ++head) {
      for (int64_t row = 0; row < rows_; ++row) {
        const int64_t visible = keys - tokens + first_row + row + 1;
        const float* q_row = q + ((first_row + row) * shape.num_heads + head) * d;
        std::fill(scores.begin(), scores.end(), 0.0f);
        for (int i = 0; i < d; ++i) {
          const float x = q_row[i] * scale;
          const float* kt_row = kt.data() + i * padded;
          for (int64_t key = 0; key < visible; ++key) {
            scores[key] += x * kt_row[key];
          }
        }
        const float m = *std::max_element(scores.begin(), scores.begin() + visible);
        double sum = 0.0;
        for (int64_t unit = 0; unit * kUnitKeys < visible; ++unit) {
          float unit_max = kMinusInfinity;
          float unit_mass = 0.0f;
          for (int64_t key = unit * kUnitKeys; key < std::min(visible, (unit + 1) * kUnitKeys);
               ++key) {
            unit_max = std::max(unit_max, scores[key]);
            unit_mass += std::exp2(scores[key] - m);
          }
          max_[index(head, row, unit)] = unit_max;
          mass_[index(head, row, unit)] = unit_mass;
          sum += unit_mass;
        }
        for (int64_t unit = 0; unit < units_; ++unit) {
          mass_[index(head, row, unit)] /= static_cast<float>(sum);
        }
      }
    }
  }
}

ScoreBlock::Outcome& ScoreBlock::Outcome::operator+=(const Outcome& other) {
  counts += other.counts;
  lost_mass += other.lost_mass;
  worst_lost_mass = std::max(worst_lost_mass, other.worst_lost_mass);
  rows += other.rows;
  return *this;
}

float ScoreBlock::seed(const TilePlan& plan, int64_t voter) const {
  const auto row = max_.begin() + voter;
  int64_t seen = units_;
  while (seen > 0 && row[seen - 1] == kMinusInfinity) {
    --seen;
  }
  float seed = kMinusInfinity;
  for (int64_t unit = 0; unit < seen && plan.seed != MaxSeed::kNone; ++unit) {
    if (plan.seed == MaxSeed::kExact ||
        is_seed_key(unit * kUnitKeys, 0, seen * kUnitKeys, plan.keys)) {
      seed = std::max(seed, row[unit]);
    }
  }
  return seed;
}

ScoreBlock::Outcome ScoreBlock::replay(const TilePlan& plan, double threshold_log2) const {
  check(plan.keys % kUnitKeys == 0 && rows_ % plan.rows == 0, ErrorCode::kInvalidArgument,
        "tile plan '{}' does not fit blocks of {} rows and units of {} keys", to_string(plan),
        rows_, kUnitKeys);
  const float t = static_cast<float>(threshold_log2);
  const int64_t tile_units = plan.keys / kUnitKeys;
  const int64_t span_units = plan.span / kUnitKeys;
  Outcome outcome;
  std::vector<int64_t> voters(plan.rows * plan.heads);
  std::vector<float> seeds(voters.size());
  std::vector<float> running(voters.size());
  std::vector<double> lost(voters.size());
  for (int head = 0; head < heads_; head += plan.heads) {
    for (int64_t row = 0; row < rows_; row += plan.rows) {
      for (size_t i = 0; i < voters.size(); ++i) {
        const int h = head + static_cast<int>(i) / plan.rows;
        voters[i] = index(h, row + static_cast<int64_t>(i) % plan.rows, 0);
        seeds[i] = seed(plan, voters[i]);
        lost[i] = 0.0;
      }
      for (const auto& [begin, restart] : visits(plan, units_)) {
        if (restart) {
          running = seeds;
        }
        const int64_t end = std::min(units_, begin + span_units);
        for (size_t i = 0; i < voters.size(); ++i) {
          for (int64_t unit = begin; unit < end; ++unit) {
            running[i] = std::max(running[i], max_[voters[i] + unit]);
          }
        }
        for (int64_t tile = begin; tile < end; tile += tile_units) {
          const int64_t tile_end = std::min(units_, tile + tile_units);
          bool visible = false;
          bool agree = true;
          for (size_t i = 0; i < voters.size() && (agree || !visible); ++i) {
            float tile_max = kMinusInfinity;
            for (int64_t unit = tile; unit < tile_end; ++unit) {
              tile_max = std::max(tile_max, max_[voters[i] + unit]);
            }
            visible = visible || tile_max > kMinusInfinity;
            agree = agree && row_agrees_to_skip(tile_max, running[i], t);
          }
          outcome.counts.tiles += visible;
          outcome.counts.skipped += visible && agree;
          for (size_t i = 0; i < voters.size() && agree; ++i) {
            for (int64_t unit = tile; unit < tile_end; ++unit) {
              lost[i] += mass_[voters[i] + unit];
            }
          }
        }
      }
      for (double mass : lost) {
        outcome.lost_mass += mass;
        outcome.worst_lost_mass = std::max(outcome.worst_lost_mass, mass);
      }
      outcome.rows += static_cast<int64_t>(lost.size());
    }
  }
  return outcome;
}

}  // namespace hopskip
