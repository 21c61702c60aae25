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

template <typename Dot>
class Decode {
  using L = typename Dot::Lanes;
  using F = typename L::F;
  using Pair = typename Dot::Pair;
  static constexpr int kPairs = kSliceKeys / 2;
  static constexpr int kRowBlock = 4;     // rows that share one load of K or V
  static constexpr int kVectorBlock = 4;  // vectors of 16 value dimensions summed at once
  // Slices ahead of the one at work whose cache lines are asked for, into L2: the L1 has too few
  // outstanding misses to cover memory's latency.
  static constexpr int kPrefetchSlices = 8;
  static constexpr int kPrefetchToL2 = 2;

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
    const int pairs = shape_.head_dim / 2;
    Pair* q = take<Pair>(scratch, int64_t{rows_} * pairs);
    for (int row = 0; row < rows_; ++row) {
      const float* source = query(row);
      for (int i = 0; i < pairs; ++i) {
        Dot::pack_pairs(source + 2 * i, &q[row * pairs + i]);
      }
    }
    for (int64_t slice = begin_; slice < end_; ++slice) {
      const auto* k = reinterpret_cast<const uint32_t*>(task_.kv.k_slice(slice));
      if (slice + kPrefetchSlices < end_) {
        prefetch(task_.kv.k_slice(slice + kPrefetchSlices));
      }
      int row = 0;
      for (; row + kRowBlock <= rows_; row += kRowBlock) {
        score_rows<kRowBlock>(slice, k, q + row * pairs, row);
      }
      switch (rows_ - row) {
        case 3:
          score_rows<3>(slice, k, q + row * pairs, row);
          break;
        case 2:
          score_rows<2>(slice, k, q + row * pairs, row);
          break;
        case 1:
          score_rows<1>(slice, k, q + row * pairs, row);
          break;
        default:
          break;
      }
    }
  }

  void values(std::byte* scratch) {
    keep_ = take<uint8_t>(scratch, int64_t{kSplitSlices} * rows_);
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
      float* out = task_.out + token * task_.out_stride + int64_t{head} * shape_.head_dim;
      float l = 0.0f;
      for (int64_t split = first; split < state_.splits; ++split) {
        l += state_.sums[split * rows_ + row];
      }
      const float m_log2 = row_max(row) * scale_.to_log2;
      const RowResult result = finish_row(shape_, task_.first_head + head, m_log2, l);
      for (int d = 0; d < shape_.head_dim; d += kLanes) {
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
  const float* query(int row) const {
    return task_.q + row / shape_.group() * task_.q_stride +
           int64_t{row % shape_.group()} * shape_.head_dim;
  }
  float* slice_max(int row) const { return state_.slice_max + row * state_.slices; }
  float* row_scores(int row, int64_t slice) const {
    return state_.scores + (row * state_.slices + slice) * kSliceKeys;
  }
  float* partial(int64_t split, int row) const {
    return state_.partial + (split * rows_ + row) * shape_.head_dim;
  }

  void prefetch(const std::byte* slice) const {
    for (int64_t offset = 0; offset < task_.kv.slice_bytes; offset += 64) {
      __builtin_prefetch(slice + offset, 0, kPrefetchToL2);
    }
  }

  template <int kRows>
  void score_rows(int64_t slice, const uint32_t* k, const Pair* q, int row) const {
    // Two chains a row hide the latency of the dot product.
    const int pairs = shape_.head_dim / 2;
    F even[kRows];
    F odd[kRows];
    HOPSKIP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      even[r] = odd[r] = L::set1(0.0f);
    }
    for (int i = 0; i < pairs; i += 2) {
      const auto k0 = Dot::load_pairs(k + i * kSliceKeys);
      const auto k1 = Dot::load_pairs(k + (i + 1) * kSliceKeys);
      HOPSKIP_UNROLL
      for (int r = 0; r < kRows; ++r) {
        even[r] = Dot::dot_pair(even[r], q[r * pairs + i], k0);
        odd[r] = Dot::dot_pair(odd[r], q[r * pairs + i + 1], k1);
      }
    }
    HOPSKIP_UNROLL
    for (int r = 0; r < kRows; ++r) {
      F score = L::add(even[r], odd[r]);
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
    float maximum = kMinusInfinity;
    const float* maxima = slice_max(row);
    for (int64_t i = visible_.begin / kSliceKeys; i <= (visible_.end - 1) / kSliceKeys; ++i) {
      maximum = maxima[i] > maximum ? maxima[i] : maximum;
    }
    return maximum;
  }

  // Fills keep_ [slices of the split][rows] and kept_, the slices that some row keeps.
  void vote() {
    const int tile_slices = task_.plan.keys / kSliceKeys;
    const int64_t tokens = min(task_.plan.rows, task_.q_len);
    for (int64_t i = begin_; i < end_; i = (i / tile_slices + 1) * tile_slices) {
      const int64_t tile_end = min(end_, (i / tile_slices + 1) * tile_slices);
      for (int64_t token = 0; token < task_.q_len; token += tokens) {
        for (int head = 0; head < shape_.group(); head += task_.plan.heads) {
          vote_tile(i, tile_end, token, min(token + tokens, task_.q_len), head);
        }
      }
    }
    kept_count_ = 0;
    for (int64_t i = begin_; i < end_; ++i) {
      const uint8_t* keep = keep_ + (i - begin_) * rows_;
      uint8_t any = 0;
      for (int row = 0; row < rows_; ++row) {
        any |= keep[row];
      }
      kept_[kept_count_] = i;
      kept_count_ += any;
    }
  }

  // One vote: slices [begin, end), tokens [token, token_end), heads [head, head + plan.heads).
  void vote_tile(int64_t begin, int64_t end, int64_t token, int64_t token_end, int head) {
    const float threshold = scale_.raw_threshold(task_.threshold_log2);
    bool skip = true;
    bool visible = false;
    for (int64_t t = token; t < token_end; ++t) {
      for (int h = head; h < head + task_.plan.heads; ++h) {
        const int row = static_cast<int>(t) * shape_.group() + h;
        float tile_max = kMinusInfinity;
        for (int64_t i = begin; i < end; ++i) {
          tile_max = slice_max(row)[i] > tile_max ? slice_max(row)[i] : tile_max;
        }
        visible |= tile_max > kMinusInfinity;
        skip &= row_agrees_to_skip(tile_max, maxima_[row], threshold);
      }
    }
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t t = token; t < token_end; ++t) {
        for (int h = head; h < head + task_.plan.heads; ++h) {
          keep_[(i - begin_) * rows_ + t * shape_.group() + h] = !skip;
        }
      }
    }
    if (!visible) {
      return;
    }
    for (int h = head; h < head + task_.plan.heads; ++h) {
      add_counts(task_.counts[h], {1, skip});
    }
    if (task_.states != nullptr) {
      const int64_t head_tile = (task_.first_head + head) / task_.plan.heads;
      const int64_t row_tile = head_tile * task_.row_tiles + token / task_.plan.rows;
      task_.states[row_tile * task_.key_tiles + begin * kSliceKeys / task_.plan.keys] =
          skip ? TileState::kSkipped : TileState::kKept;
    }
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
        if (keep_[(kept_[i] - begin_) * rows_ + row]) {
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
    for (; d + kVectorBlock * kLanes <= shape_.head_dim; d += kVectorBlock * kLanes) {
      sum_values<kRows, kVectorBlock>(row, d);
    }
    for (; d < shape_.head_dim; d += kLanes) {
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
      if (row == 0 && d == 0 && i + kPrefetchSlices < kept_count_) {
        prefetch(task_.kv.v_slice(kept_[i + kPrefetchSlices]));
      }
      const Pair* weights = weights_ + (int64_t{i} * rows_ + row) * kPairs;
      for (int pair = 0; pair < kPairs; ++pair) {
        HOPSKIP_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const auto wide = Dot::load_pairs(v + j * kLanes);
          HOPSKIP_UNROLL
          for (int r = 0; r < kRows; ++r) {
            acc[r][j] = Dot::dot_pair(acc[r][j], weights[r * kPairs + pair], wide);
          }
        }
        v += shape_.head_dim;
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
  uint8_t* keep_ = nullptr;
  Pair* weights_ = nullptr;
  float* maxima_ = nullptr;  // [rows]
  int kept_count_ = 0;
  int64_t kept_[kSplitSlices + 1];
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DECODE_H_
