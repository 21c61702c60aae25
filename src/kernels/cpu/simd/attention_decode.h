// Decode: few query rows, so keys are the lanes of a score and value dimensions the lanes of a sum.
//
//   scores   S[row][16 keys] += q[row][d pair] · K[d pair][16 keys]   for every slice of a split
//   values   votes with the row's exact maximum, then
//            O[row][16 d] += p[row][key pair] · V[key pair][16 d]     only slices that a row kept
//   combine  adds the splits, which share that maximum
//
// The second pass never reads the V of a slice that all rows of the KV head skip.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DECODE_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DECODE_H_

#include "attention/skip_rule.h"
#include "kernels/cpu/simd/attention_common.h"
#include "kernels/cpu/simd/attention_kernels.h"

namespace hopskip {

// kHeadDim: the head_dim at compile time, or 0.
template <typename Dot, int kHeadDim>
class Decode {
  using L = typename Dot::Lanes;
  using F = typename L::F;
  using Pair = typename Dot::Pair;
  static constexpr int kPairs = kSliceKeys / 2;
  static constexpr int kLineBytes = 64;   // 16 units of two elements
  static constexpr int kRowBlock = 4;     // rows that share one load of K or V
  static constexpr int kVectorBlock = 4;  // vectors of 16 value dimensions summed at once
  // Chains of products a score: enough to hide the product's latency, as registers allow.
  static constexpr int kChains = Dot::kReadsCache ? 4 : 2;
  // Slices ahead of the one at work whose cache lines are asked for, one with each line that is
  // read: in bursts they would wait for each other.
  static constexpr int kPrefetchSlices = 4;

 public:
  Decode(const AttentionTask& task, const DecodeState& state, int64_t split)
      : task_(task),
        shape_(*task.shape),
        state_(state),
        scale_(shape_),
        rows_(static_cast<int>(task.q_len) * shape_.group()),
        split_(split) {
    visible_ = {visible_keys(shape_, task.position(0), task.kv_len).begin,
                visible_keys(shape_, task.position(task.q_len - 1), task.kv_len).end};
    all_see_ = {visible_keys(shape_, task.position(task.q_len - 1), task.kv_len).begin,
                visible_keys(shape_, task.position(0), task.kv_len).end};
    begin_ = max(split * kSplitSlices, visible_.begin / kSliceKeys);
    end_ = min((split + 1) * kSplitSlices, (visible_.end - 1) / kSliceKeys + 1);
  }

  void scores(std::byte* scratch) {
    const int pairs = head_dim() / 2;
    Pair* q = take<Pair>(scratch, int64_t{rows_} * pairs);
    for (int row = 0; row < rows_; ++row) {
      const float* source = query(row);
      for (int i = 0; i < pairs; ++i) {
        Dot::pack_pairs(source + 2 * i, &q[row * pairs + i]);
      }
      float* maxima = slice_max(row) + split_ * kSplitSlices;
      for (int i = 0; i < kSplitSlices; i += kLanes) {
        L::store_any(maxima + i, L::set1(kMinusInfinity));
      }
    }
    const int64_t last = (visible_.end - 1) / kSliceKeys;
    for (int64_t slice = begin_; slice < end_; ++slice) {
      const auto* k = reinterpret_cast<const uint32_t*>(task_.kv.k_slice(slice));
      const std::byte* ahead = task_.kv.k_slice(min(slice + kPrefetchSlices, last));
      int row = 0;
      for (; row + kRowBlock <= rows_; row += kRowBlock) {
        score_rows<kRowBlock>(slice, k, ahead, q + row * pairs, row);
      }
      switch (rows_ - row) {
        case 3:
          score_rows<3>(slice, k, ahead, q + row * pairs, row);
          break;
        case 2:
          score_rows<2>(slice, k, ahead, q + row * pairs, row);
          break;
        case 1:
          score_rows<1>(slice, k, ahead, q + row * pairs, row);
          break;
        default:
          break;
      }
    }
    for (int row = 0; row < rows_; ++row) {
      const float* maxima = slice_max(row) + split_ * kSplitSlices;
      F maximum = L::load(maxima);
      for (int i = kLanes; i < kSplitSlices; i += kLanes) {
        maximum = L::max(maximum, L::load(maxima + i));
      }
      split_max(row)[split_] = L::reduce_max(maximum);
    }
  }

  void values(std::byte* scratch) {
    agree_ = take<uint32_t>(scratch, rows_);
    seen_ = take<uint32_t>(scratch, rows_);
    weights_ = take<Pair>(scratch, int64_t{kSplitSlices} * rows_ * kPairs);
    maxima_ = take<float>(scratch, rows_);
    for (int row = 0; row < rows_; ++row) {
      maxima_[row] = row_max(row);
    }
    vote();
    weigh();
    int row = 0;
    for (; row + kRowBlock <= rows_; row += kRowBlock) {
      sum_rows<kRowBlock>(row);
    }
    switch (rows_ - row) {
      case 3:
        sum_rows<3>(row);
        break;
      case 2:
        sum_rows<2>(row);
        break;
      case 1:
        sum_rows<1>(row);
        break;
      default:
        break;
    }
  }

  void combine() {
    const int64_t first = visible_.begin / kSplitKeys;
    for (int row = 0; row < rows_; ++row) {
      const int64_t token = row / shape_.group();
      const int head = row % shape_.group();
      float* out = task_.out + token * task_.out_stride + int64_t{head} * head_dim();
      float l = 0.0f;
      for (int64_t split = first; split < state_.splits; ++split) {
        l += state_.sums[split * rows_ + row];
      }
      const float m_log2 = row_max(row) * scale_.to_log2;
      const RowResult result = finish_row(shape_, task_.first_head + head, m_log2, l);
      for (int d = 0; d < head_dim(); d += kLanes) {
        F sum = L::set1(0.0f);
        for (int64_t split = first; split < state_.splits; ++split) {
          sum = L::add(sum, L::load(partial(split, row) + d));
        }
        L::store_any(out + d, L::mul(sum, L::set1(result.factor)));
      }
      if (task_.lse != nullptr) {
        task_.lse[token * shape_.num_heads + task_.first_head + head] = result.lse;
      }
    }
  }

 private:
  int head_dim() const { return kHeadDim > 0 ? kHeadDim : shape_.head_dim; }
  const float* query(int row) const {
    return task_.q + row / shape_.group() * task_.q_stride +
           int64_t{row % shape_.group()} * head_dim();
  }
  float* slice_max(int row) const { return state_.slice_max + row * state_.slices; }
  float* split_max(int row) const { return state_.split_max + row * state_.splits; }
  float* row_scores(int row, int64_t slice) const {
    return state_.scores + (row * state_.slices + slice) * kSliceKeys;
  }
  float* partial(int64_t split, int row) const {
    return state_.partial + (split * rows_ + row) * head_dim();
  }

  template <int kRows>
  void score_rows(int64_t slice, const uint32_t* k, const std::byte* ahead, const Pair* q,
                  int row) const {
    const int pairs = head_dim() / 2;
    F acc[kChains][kRows];
    HOPSKIP_UNROLL
    for (int c = 0; c < kChains; ++c) {
      HOPSKIP_UNROLL
      for (int r = 0; r < kRows; ++r) {
        acc[c][r] = L::set1(0.0f);
      }
    }
    for (int i = 0; i < pairs; i += kChains) {
      HOPSKIP_UNROLL
      for (int c = 0; c < kChains; ++c) {
        const auto wide = Dot::load_pairs(k + (i + c) * kSliceKeys);
        __builtin_prefetch(ahead + (i + c) * kLineBytes);
        HOPSKIP_UNROLL
        for (int r = 0; r < kRows; ++r) {
          acc[c][r] = Dot::dot_pair(acc[c][r], q[r * pairs + i + c], wide);
        }
      }
    }
    HOPSKIP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      F score = L::add(acc[0][r], acc[1][r]);
      HOPSKIP_UNROLL
      for (int c = 2; c < kChains; c += 2) {
        score = L::add(score, L::add(acc[c][r], acc[c + 1][r]));
      }
      if (shape_.softcap > 0.0f) {
        score = soft_cap<L>(score, shape_.scale, shape_.softcap);
      }
      L::store(row_scores(row + r, slice), score);
      slice_max(row + r)[slice] = L::reduce_max(score);
    }
    const int64_t first = slice * kSliceKeys;
    if (first < all_see_.begin || first + kSliceKeys > all_see_.end) [[unlikely]] {
      for (int r = 0; r < kRows; ++r) {
        mask(row + r, slice);
      }
    }
  }

  void mask(int row, int64_t slice) const {
    const KeyRange seen = visible_keys(shape_, task_.position(row / shape_.group()), task_.kv_len);
    float* scores = row_scores(row, slice);
    float maximum = kMinusInfinity;
    for (int i = 0; i < kSliceKeys; ++i) {
      const int64_t key = slice * kSliceKeys + i;
      scores[i] = key < seen.begin || key >= seen.end ? kMinusInfinity : scores[i];
      maximum = scores[i] > maximum ? scores[i] : maximum;
    }
    slice_max(row)[slice] = maximum;
  }

  // The row's largest score over all splits.
  float row_max(int row) const {
    const float* maxima = split_max(row);
    float maximum = kMinusInfinity;
    int64_t i = 0;
    if (state_.splits >= kLanes) {
      F lanes = L::load(maxima);
      for (i = kLanes; i + kLanes <= state_.splits; i += kLanes) {
        lanes = L::max(lanes, L::load(maxima + i));
      }
      maximum = L::reduce_max(lanes);
    }
    for (; i < state_.splits; ++i) {
      maximum = maxima[i] > maximum ? maxima[i] : maximum;
    }
    return maximum;
  }

  // Leaves in agree_ the slices that a row skips and in kept_, the slices that some row keeps. Bit
  // i of a mask is the split's slice i; the maximum of a slice that the split does not have, or no
  // row sees, is −inf.
  void vote() {
    const F threshold = L::set1(scale_.raw_threshold(task_.threshold_log2));
    for (int row = 0; row < rows_; ++row) {
      const float* maxima = slice_max(row) + split_ * kSplitSlices;
      agree_[row] = 0;
      seen_[row] = 0;
      for (int i = 0; i < kSplitSlices; i += kLanes) {
        const F maximum = L::load(maxima + i);
        agree_[row] |= L::rows_agree(maximum, L::set1(maxima_[row]), threshold) << i;
        seen_[row] |= (L::rows_agree(maximum, L::set1(kMinusInfinity), L::set1(0.0f)) ^ 0xffff)
                      << i;
      }
    }
    const int64_t tokens = min(task_.plan.rows, task_.q_len);
    const int group = shape_.group();
    uint32_t any = 0;
    for (int64_t token = 0; token < task_.q_len; token += tokens) {
      for (int head = 0; head < group; head += task_.plan.heads) {
        any |= vote_tiles(token, min(token + tokens, task_.q_len), head, group);
      }
    }
    kept_count_ = 0;
    for (; any != 0; any &= any - 1) {
      kept_[kept_count_++] = split_ * kSplitSlices + __builtin_ctz(any);
    }
  }

  // The mask of slices [begin_, end_).
  uint32_t slices() const {
    const int64_t first = begin_ - split_ * kSplitSlices;
    const int64_t end = end_ - split_ * kSplitSlices;
    return end <= first ? 0 : static_cast<uint32_t>((uint64_t{1} << end) - (uint64_t{1} << first));
  }

  // The votes of tokens [token, token_end), heads [head, head + plan.heads) on the tiles of the
  // split: agree_ becomes the slices that are skipped. Returns those that are kept.
  uint32_t vote_tiles(int64_t token, int64_t token_end, int head, int group) {
    const int tile_slices = task_.plan.keys / kSliceKeys;
    uint32_t agree = ~uint32_t{0};
    uint32_t seen = 0;
    for (int64_t t = token; t < token_end; ++t) {
      for (int64_t row = t * group + head; row < t * group + head + task_.plan.heads; ++row) {
        agree &= agree_[row];
        seen |= seen_[row];
      }
    }
    // Bits of tiles: that of a tile's first slice.
    for (int shift = 1; shift < tile_slices; shift *= 2) {
      agree &= agree >> shift;
      seen |= seen >> shift;
    }
    const uint32_t ones = (uint32_t{1} << tile_slices) - 1;
    const uint32_t tiles = ~uint32_t{0} / ones;
    agree &= tiles;
    seen &= tiles;
    const uint32_t skipped = agree * ones | ~slices();
    for (int64_t t = token; t < token_end; ++t) {
      for (int64_t row = t * group + head; row < t * group + head + task_.plan.heads; ++row) {
        agree_[row] = skipped;
      }
    }
    const auto count = [](uint32_t mask) {
      return static_cast<uint64_t>(__builtin_popcount(mask));
    };
    const SkipCounts counts{count(seen), count(seen & agree)};
    for (int h = head; h < head + task_.plan.heads; ++h) {
      add_counts(task_.counts[h], counts);
    }
    if (task_.states != nullptr) {
      const int64_t head_tile = (task_.first_head + head) / task_.plan.heads;
      const int64_t row_tile = head_tile * task_.row_tiles + token / task_.plan.rows;
      TileState* states =
          task_.states + row_tile * task_.key_tiles + split_ * kSplitSlices / tile_slices;
      for (; seen != 0; seen &= seen - 1) {
        const int first = __builtin_ctz(seen);
        states[first / tile_slices] =
            (agree >> first & 1) != 0 ? TileState::kSkipped : TileState::kKept;
      }
    }
    return ~skipped;
  }

  // Fills weights_ [kept slices][rows][8 pairs], zero where the row skips, and the split's sums.
  void weigh() {
    const F scale = L::set1(scale_.to_log2);
    for (int row = 0; row < rows_; ++row) {
      const float base = maxima_[row] > kMinusInfinity ? maxima_[row] : 0.0f;
      const F minus_base = L::set1(-base * scale_.to_log2);
      F sum = L::set1(0.0f);
      for (int i = 0; i < kept_count_; ++i) {
        Pair* weights = weights_ + (int64_t{i} * rows_ + row) * kPairs;
        F p = L::set1(0.0f);
        if ((agree_[row] >> (kept_[i] % kSplitSlices) & 1) == 0) {
          p = L::exp2(L::fma(L::load(row_scores(row, kept_[i])), scale, minus_base));
        }
        sum = L::add(sum, Dot::store_pairs(p, weights));
      }
      state_.sums[split_ * rows_ + row] = L::reduce_add(sum);
    }
  }

  template <int kRows>
  void sum_rows(int row) const {
    int d = 0;
    for (; d + kVectorBlock * kLanes <= head_dim(); d += kVectorBlock * kLanes) {
      sum_values<kRows, kVectorBlock>(row, d);
    }
    for (; d < head_dim(); d += kLanes) {
      sum_values<kRows, 1>(row, d);
    }
  }

  template <int kRows, int kVectors>
  void sum_values(int row, int d) const {
    F acc[kRows][kVectors];
    HOPSKIP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      HOPSKIP_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        acc[r][j] = L::set1(0.0f);
      }
    }
    for (int i = 0; i < kept_count_; ++i) {
      const auto* v = reinterpret_cast<const uint32_t*>(task_.kv.v_slice(kept_[i])) + d;
      const int64_t next = kept_[min(i + kPrefetchSlices, kept_count_ - 1)];
      const auto* ahead = reinterpret_cast<const uint32_t*>(task_.kv.v_slice(next)) + d;
      const Pair* weights = weights_ + (int64_t{i} * rows_ + row) * kPairs;
      for (int pair = 0; pair < kPairs; ++pair) {
        HOPSKIP_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const auto wide = Dot::load_pairs(v + j * kLanes);
          __builtin_prefetch(ahead + j * kLanes);
          HOPSKIP_UNROLL
          for (int r = 0; r < kRows; ++r) {
            acc[r][j] = Dot::dot_pair(acc[r][j], weights[r * kPairs + pair], wide);
          }
        }
        v += head_dim();
        ahead += head_dim();
      }
    }
    HOPSKIP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      HOPSKIP_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        L::store(partial(split_, row + r) + d + j * kLanes, acc[r][j]);
      }
    }
  }

  const AttentionTask& task_;
  const AttentionShape& shape_;
  const DecodeState& state_;
  const ScoreScale scale_;
  const int rows_;
  const int64_t split_;
  KeyRange visible_;  // keys that some row sees
  KeyRange all_see_;  // keys that every row sees
  int64_t begin_;     // slices of the split that some row sees
  int64_t end_;
  uint32_t* agree_ = nullptr;  // [rows] masks: slices to skip, slices of which the row sees a key
  uint32_t* seen_ = nullptr;
  Pair* weights_ = nullptr;
  float* maxima_ = nullptr;  // [rows]
  int kept_count_ = 0;
  int64_t kept_[kSplitSlices + 1];
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DECODE_H_
