// How attention results are judged against the reference, whoever computed them.
#ifndef HOPSKIP_TESTS_SUPPORT_ATTENTION_CHECK_H_
#define HOPSKIP_TESTS_SUPPORT_ATTENTION_CHECK_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include "attention/reference.h"

namespace hopskip::test {

// How far votes may lie from the threshold and still differ, in log2 units: both scores that a vote
// compares are sums of head_dim float products, each off by at most head_dim · 2^-24 · Σ|q k| ≤
// head_dim · 2^-24 · |q| |k|; a soft-cap's tanh adds 2^-20 of the cap.
inline double rounding_band(const ReferenceInput& in) {
  const int d = in.shape.head_dim;
  const auto largest_norm = [d](const float* rows, int64_t count) {
    double largest = 0.0;
    for (int64_t row = 0; row < count; ++row) {
      double sum = 0.0;
      for (int i = 0; i < d; ++i) {
        sum += double{rows[row * d + i]} * rows[row * d + i];
      }
      largest = std::max(largest, sum);
    }
    return std::sqrt(largest);
  };
  const double score = d * std::ldexp(1.0, -24) * in.shape.scale *
                       largest_norm(in.q, in.q_len * in.shape.num_heads) *
                       largest_norm(in.k, in.kv_len * in.shape.num_kv_heads);
  return std::numbers::log2e * 2.0 * (score + std::ldexp(in.shape.softcap, -20));
}

// The obvious computation with a kernel's dtypes: fp32 scores and softmax over the kept keys, the
// weights and the results rounded as the kernel does. [q_len][num_heads][head_dim]
template <typename RoundWeight, typename RoundOut>
std::vector<float> naive_attention(const ReferenceInput& in, const TilePlan& plan,
                                   const SkipMap& map, RoundWeight round_weight,
                                   RoundOut round_out) {
  const AttentionShape& shape = in.shape;
  const int d_count = shape.head_dim;
  std::vector<float> out(in.q_len * shape.num_heads * d_count, 0.0f);
  std::vector<float> p(in.kv_len);
  for (int64_t row = 0; row < in.q_len * shape.num_heads; ++row) {
    const int64_t token = row / shape.num_heads;
    const int head = static_cast<int>(row % shape.num_heads);
    const int64_t kv_head = head / shape.group();
    const KeyRange keys = visible_keys(shape, in.kv_len - in.q_len + token, in.kv_len);
    float m = -std::numeric_limits<float>::infinity();
    for (int64_t key = keys.begin; key < keys.end; ++key) {
      float dot = 0.0f;
      for (int d = 0; d < d_count; ++d) {
        dot += in.q[row * d_count + d] * in.k[(key * shape.num_kv_heads + kv_head) * d_count + d];
      }
      dot *= shape.scale;
      p[key] = shape.softcap > 0.0f ? shape.softcap * std::tanh(dot / shape.softcap) : dot;
      m = std::max(m, p[key]);
    }
    float l = shape.sinks != nullptr ? std::exp(shape.sinks[head] - m) : 0.0f;
    float* sum = &out[row * d_count];
    for (int64_t key = keys.begin; key < keys.end; ++key) {
      if (map.at(head / plan.heads, token / plan.rows, key / plan.keys) == TileState::kSkipped) {
        continue;
      }
      const float weight = std::exp(p[key] - m);
      l += weight;
      const float rounded = round_weight(weight);
      for (int d = 0; d < d_count; ++d) {
        sum[d] += rounded * in.v[(key * shape.num_kv_heads + kv_head) * d_count + d];
      }
    }
    for (int d = 0; d < d_count; ++d) {
      sum[d] = round_out(sum[d] / l);
    }
  }
  return out;
}

// NaN where any difference is.
inline double worst_difference(std::span<const float> a, std::span<const double> b) {
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    worst = difference <= worst ? worst : difference;
  }
  return worst;
}

// How a kernel's skip map differs from the reference's.
struct MapCheck {
  int64_t wrong = 0;    // tiles that differ although their vote was clear
  int64_t excused = 0;  // tiles whose vote lies within the rounding band, differ or not

  MapCheck& operator+=(const MapCheck& other) {
    wrong += other.wrong;
    excused += other.excused;
    return *this;
  }
};

inline MapCheck check_map(const SkipMap& map, const ReferenceOutput& want, double band) {
  MapCheck check;
  for (size_t t = 0; t < map.states.size(); ++t) {
    const bool near = want.map.states[t] != TileState::kInvisible && want.margin[t] < band;
    check.excused += near;
    check.wrong += map.states[t] != want.map.states[t] && !near;
  }
  return check;
}

// The tiles of a map that count for a query head.
inline SkipCounts counts_of_head(const SkipMap& map, const TilePlan& plan, int head) {
  SkipCounts counts;
  for (int64_t row = 0; row < map.row_tiles; ++row) {
    for (int64_t key = 0; key < map.key_tiles; ++key) {
      const TileState state = map.at(head / plan.heads, row, key);
      counts.tiles += state != TileState::kInvisible;
      counts.skipped += state == TileState::kSkipped;
    }
  }
  return counts;
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_ATTENTION_CHECK_H_
