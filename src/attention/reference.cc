#include "attention/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// The online softmax of one row.
struct Softmax {
  double m = kMinusInfinity;  // running maximum, log2 units
  double l = 0.0;             // running sum of exp2(s − m)
  std::vector<double> acc;    // [head_dim]

  // Raises m to at least `other` and rescales what was summed so far.
  void raise(double other) {
    if (other <= m) {
      return;
    }
    const double rescale = m == kMinusInfinity ? 0.0 : std::exp2(m - other);
    m = other;
    l *= rescale;
    for (double& value : acc) {
      value *= rescale;
    }
  }

  void merge(Softmax other) {
    raise(other.m);
    other.raise(m);
    l += other.l;
    for (size_t d = 0; d < acc.size(); ++d) {
      acc[d] += other.acc[d];
    }
  }
};

// One query row of a tile: a token of a head.
struct Row {
  int64_t token;
  int head;
  KeyRange keys;
  double seed = kMinusInfinity;
  Softmax split;                 // of the split at hand
  Softmax total;                 // of the splits before it
  std::vector<double> scores;    // [plan.span], of the span at hand; −inf where masked
  std::vector<double> tile_max;  // [plan.span / plan.keys]
};

// Replays the visits of one (head tile, row tile).
class TileReplay {
 public:
  TileReplay(const ReferenceInput& input, const TilePlan& plan, double threshold, SkipRule rule)
      : in_(input), shape_(input.shape), plan_(plan), threshold_(threshold), rule_(rule) {}

  void run(int64_t head_tile, int64_t row_tile, const SkipMap* forced, ReferenceOutput& result) {
    make_rows(head_tile, row_tile);
    int64_t begin = in_.kv_len;
    int64_t end = 0;
    for (const Row& row : rows_) {
      begin = std::min(begin, row.keys.begin);
      end = std::max(end, row.keys.end);
    }
    const int64_t split = plan_.split > 0 ? plan_.split : std::max<int64_t>(end, plan_.span);
    for (int64_t split_begin = begin / split * split; split_begin < end; split_begin += split) {
      for (Row& row : rows_) {
        row.split = {row.seed, 0.0, std::vector<double>(shape_.head_dim, 0.0)};
      }
      const int64_t first = std::max(begin, split_begin) / plan_.span;
      const int64_t last = (std::min(end, split_begin + split) - 1) / plan_.span;
      for (int64_t visit = 0; visit <= last - first; ++visit) {
        visit_span(visited_span(plan_.order, visit, first, last), head_tile, row_tile, forced,
                   result);
      }
      for (Row& row : rows_) {
        row.total.merge(row.split);
      }
    }
    finish(result);
  }

 private:
  void make_rows(int64_t head_tile, int64_t row_tile) {
    rows_.clear();
    const int64_t token_end = std::min(in_.q_len, (row_tile + 1) * plan_.rows);
    for (int h = 0; h < plan_.heads; ++h) {
      for (int64_t token = row_tile * plan_.rows; token < token_end; ++token) {
        Row row;
        row.token = token;
        row.head = static_cast<int>(head_tile) * plan_.heads + h;
        row.keys = visible_keys(shape_, in_.kv_len - in_.q_len + token, in_.kv_len);
        row.total.acc.assign(shape_.head_dim, 0.0);
        row.scores.resize(plan_.span);
        row.tile_max.resize(plan_.span / plan_.keys);
        if (plan_.seed != MaxSeed::kNone) {
          for (int64_t key = row.keys.begin; key < row.keys.end; ++key) {
            if (plan_.seed == MaxSeed::kExact ||
                is_seed_key(key, row.keys.begin, row.keys.end, plan_.keys)) {
              row.seed = std::max(row.seed, score(row, key));
            }
          }
        }
        rows_.push_back(std::move(row));
      }
    }
  }

  const float* key_row(const float* kv, const Row& row, int64_t key) const {
    return kv + (key * shape_.num_kv_heads + row.head / shape_.group()) * shape_.head_dim;
  }

  // Log2 score after mask and soft-cap.
  double score(const Row& row, int64_t key) const {
    if (key < row.keys.begin || key >= row.keys.end) {
      return kMinusInfinity;
    }
    const float* q = in_.q + (row.token * shape_.num_heads + row.head) * shape_.head_dim;
    const float* k = key_row(in_.k, row, key);
    double dot = 0.0;
    for (int d = 0; d < shape_.head_dim; ++d) {
      dot += static_cast<double>(q[d]) * static_cast<double>(k[d]);
    }
    double s = dot * static_cast<double>(shape_.scale);
    if (shape_.softcap > 0.0f) {
      s = static_cast<double>(shape_.softcap) * std::tanh(s / static_cast<double>(shape_.softcap));
    }
    return s * std::numbers::log2e;
  }

  void visit_span(int64_t span, int64_t head_tile, int64_t row_tile, const SkipMap* forced,
                  ReferenceOutput& result) {
    const int64_t tiles = plan_.span / plan_.keys;
    for (Row& row : rows_) {
      for (int64_t i = 0; i < plan_.span; ++i) {
        row.scores[i] = score(row, span * plan_.span + i);
      }
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const auto tile_begin = row.scores.begin() + tile * plan_.keys;
        row.tile_max[tile] = *std::max_element(tile_begin, tile_begin + plan_.keys);
      }
    }
    // All tiles of a span vote before any of them is accumulated.
    std::vector<bool> kept(tiles, false);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t key_tile = span * tiles + tile;
      if (std::all_of(rows_.begin(), rows_.end(),
                      [&](const Row& row) { return row.tile_max[tile] == kMinusInfinity; })) {
        continue;  // invisible
      }
      double margin = 0.0;
      bool skip = vote(tile, &margin);
      const int64_t index = result.map.index(head_tile, row_tile, key_tile);
      result.margin[index] = margin;
      if (forced != nullptr) {
        skip = forced->states[index] == TileState::kSkipped;
      }
      result.map.states[index] = skip ? TileState::kSkipped : TileState::kKept;
      kept[tile] = !skip;
    }
    for (int64_t tile = 0; tile < tiles; ++tile) {
      if (kept[tile]) {
        for (Row& row : rows_) {
          accumulate(row, span, tile);
        }
      }
    }
  }

  // All rows vote on a tile. *margin: how far the scores are from a vote that ends otherwise.
  bool vote(int64_t tile, double* margin) const {
    bool skip = true;
    double to_keep = std::numeric_limits<double>::infinity();
    double to_skip = 0.0;
    for (const Row& row : rows_) {
      double running = row.split.m;
      for (size_t other = 0; other < row.tile_max.size(); ++other) {
        if (static_cast<int64_t>(other) != tile) {
          running = std::max(running, row.tile_max[other]);
        }
      }
      const double tile_max = row.tile_max[tile];
      if (rule_(tile_max, running, threshold_)) {
        if (tile_max != kMinusInfinity) {
          to_keep = std::min(to_keep, running + threshold_ - tile_max);
        }
      } else {
        skip = false;
        to_skip = std::max(to_skip, tile_max - (running + threshold_));
      }
    }
    *margin = skip ? to_keep : to_skip;
    return skip;
  }

  void accumulate(Row& row, int64_t span, int64_t tile) const {
    if (row.tile_max[tile] == kMinusInfinity) {
      return;
    }
    row.split.raise(row.tile_max[tile]);
    for (int64_t i = tile * plan_.keys; i < (tile + 1) * plan_.keys; ++i) {
      if (row.scores[i] == kMinusInfinity) {
        continue;
      }
      const double p = std::exp2(row.scores[i] - row.split.m);
      const float* v = key_row(in_.v, row, span * plan_.span + i);
      row.split.l += p;
      for (int d = 0; d < shape_.head_dim; ++d) {
        row.split.acc[d] += p * static_cast<double>(v[d]);
      }
    }
  }

  void finish(ReferenceOutput& result) {
    for (Row& row : rows_) {
      Softmax& total = row.total;
      if (shape_.sinks != nullptr) {
        const double sink = static_cast<double>(shape_.sinks[row.head]) * std::numbers::log2e;
        total.raise(sink);
        total.l += std::exp2(sink - total.m);
      }
      if (total.l == 0.0) {
        continue;  // the row saw no key: out stays 0, lse −inf
      }
      const int64_t index = row.token * shape_.num_heads + row.head;
      result.lse[index] = (total.m + std::log2(total.l)) * std::numbers::ln2;
      for (int d = 0; d < shape_.head_dim; ++d) {
        result.out[index * shape_.head_dim + d] = total.acc[d] / total.l;
      }
    }
  }

  const ReferenceInput& in_;
  const AttentionShape& shape_;
  const TilePlan& plan_;
  const double threshold_;
  const SkipRule rule_;
  std::vector<Row> rows_;
};

}  // namespace

ReferenceOutput reference_attention(const ReferenceInput& input, const TilePlan& plan,
                                    double threshold_log2, const SkipMap* forced, SkipRule rule) {
  validate(input.shape);
  validate(plan, input.shape.group());
  check(input.q_len > 0 && input.q_len <= input.kv_len, ErrorCode::kInvalidArgument,
        "{} query tokens do not fit {} keys: the queries are the last tokens of the sequence",
        input.q_len, input.kv_len);
  ReferenceOutput result;
  result.map = SkipMap(input.shape, plan, input.q_len, input.kv_len);
  // A span may reach beyond the last key tile; those tiles are invisible and are never indexed.
  result.margin.assign(result.map.states.size(), 0.0);
  check(forced == nullptr || forced->states.size() == result.map.states.size(),
        ErrorCode::kInvalidArgument, "the forced skip map has another shape than the plan's");
  result.out.assign(input.q_len * input.shape.num_heads * input.shape.head_dim, 0.0);
  result.lse.assign(input.q_len * input.shape.num_heads, kMinusInfinity);
  TileReplay replay(input, plan, threshold_log2, rule);
  for (int64_t head_tile = 0; head_tile < result.map.head_tiles; ++head_tile) {
    for (int64_t row_tile = 0; row_tile < result.map.row_tiles; ++row_tile) {
      replay.run(head_tile, row_tile, forced, result);
    }
  }
  return result;
}

}  // namespace hopskip
