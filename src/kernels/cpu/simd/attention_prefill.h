// Prefill: 16 query rows in the lanes, keys and value dimensions broadcast.
//
//   for each span of keys, shared by all row tiles and heads of the task:
//     for each unit = 16 query tokens of one head:
//       score   S[key][16 rows] += K[d][key] · Q[d][16 rows]         slice by slice
//       vote    one vector compare a tile of keys
//       weigh   P = exp2(S − m), only slices that were kept
//       sum     O[d][16 rows] = α · O + V[key][d] · P[key][16 rows]   16 dimensions at a time
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_PREFILL_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_PREFILL_H_

#include <limits>
#include <numbers>

#include "kernels/cpu/simd/attention_common.h"
#include "kernels/cpu/simd/attention_kernels.h"

namespace hopskip {

// kHeadDim: the head dimension, or 0 where it is known at run time only.
template <typename Dot, int kHeadDim>
class Prefill {
  using L = typename Dot::Lanes;
  using F = typename L::F;
  using Unit = typename Dot::Unit;
  static constexpr int kVectorsPerSlice = kSliceKeys / Dot::kPack;

  // One row tile of one head.
  struct RowTile {
    int64_t token;       // its first query token
    int rows;            // tokens it has, 1…16
    int head;            // of the group
    KeyRange visible;    // keys that some row sees
    KeyRange all_see;    // keys that every row sees
    int64_t first_span;  // spans with visible keys
    int64_t last_span;
    SkipCounts counts;
    alignas(64) float m[kLanes];  // running maximum of raw scores
    alignas(64) float l[kLanes];  // running sum
    const Unit* q;                // [head_dim / kPack][16]
    float* o;                     // [head_dim][16]
  };
  // A slice whose values are summed.
  struct Kept {
    const Unit* v;
    int in_span;
  };

 public:
  Prefill(const AttentionTask& task, std::byte* scratch)
      : task_(task),
        shape_(*task.shape),
        scale_(shape_),
        threshold_(L::set1(scale_.raw_threshold(task.threshold_log2))),
        span_slices_(task.plan.span / kSliceKeys),
        tile_slices_(task.plan.keys / kSliceKeys) {
    scores_ = take<float>(scratch, int64_t{span_slices_} * kSliceKeys * kLanes);
    weights_ = take<Unit>(scratch, int64_t{span_slices_} * kVectorsPerSlice * kLanes);
    q_ = take<Unit>(scratch, int64_t{kMaxUnits} * head_dim() * kLanes / Dot::kPack);
    o_ = take<float>(scratch, int64_t{kMaxUnits} * head_dim() * kLanes);
    if constexpr (!Dot::kReadsCache) {
      wide_k_ = take<Unit>(scratch, int64_t{span_slices_} * kSliceKeys * head_dim());
      wide_v_ = take<Unit>(scratch, int64_t{span_slices_} * kSliceKeys * head_dim());
    }
  }

  void run(int64_t token_begin, int64_t token_end) {
    tiles_ = 0;
    for (int64_t token = token_begin; token < token_end; token += kLanes) {
      for (int head = 0; head < shape_.group(); ++head) {
        start(token, static_cast<int>(min(kLanes, token_end - token)), head);
        if (tiles_ == kMaxUnits) {
          run_tiles();
        }
      }
    }
    run_tiles();
  }

 private:
  int head_dim() const { return kHeadDim > 0 ? kHeadDim : shape_.head_dim; }

  void start(int64_t token, int rows, int head) {
    RowTile& tile = row_tiles_[tiles_];
    Unit* q = q_ + int64_t{tiles_} * head_dim() * kLanes / Dot::kPack;
    tile = {};
    tile.token = token;
    tile.rows = rows;
    tile.head = head;
    tile.q = q;
    tile.o = o_ + int64_t{tiles_} * head_dim() * kLanes;
    const KeyRange first = visible_keys(shape_, task_.position(token), task_.kv_len);
    const KeyRange last = visible_keys(shape_, task_.position(token + rows - 1), task_.kv_len);
    tile.visible = {first.begin, last.end};
    tile.all_see = {last.begin, first.end};
    tile.first_span = tile.visible.begin / task_.plan.span;
    tile.last_span = (tile.visible.end - 1) / task_.plan.span;
    for (int r = 0; r < kLanes; ++r) {
      tile.m[r] = kMinusInfinity;
      const float* row = task_.q + (token + r) * task_.q_stride + int64_t{head} * head_dim();
      for (int i = 0; i < head_dim() / Dot::kPack; ++i) {
        if (r < rows) {
          Dot::pack_query(row + i * Dot::kPack, &q[i * kLanes + r]);
        } else {
          q[i * kLanes + r] = Unit{};
        }
      }
    }
    for (int d = 0; d < head_dim(); ++d) {
      L::store(tile.o + d * kLanes, L::set1(0.0f));
    }
    ++tiles_;
  }

  // All visits of the started row tiles; tiles of a visit mostly share their span.
  void run_tiles() {
    int64_t visits = 0;
    for (int i = 0; i < tiles_; ++i) {
      visits = max(visits, row_tiles_[i].last_span - row_tiles_[i].first_span + 1);
    }
    loaded_span_ = -1;
    for (int64_t visit = 0; visit < visits; ++visit) {
      for (int i = 0; i < tiles_; ++i) {
        RowTile& tile = row_tiles_[i];
        if (visit <= tile.last_span - tile.first_span) {
          visit_span(tile, visited_span(task_.plan.order, visit, tile.first_span, tile.last_span));
        }
      }
    }
    for (int i = 0; i < tiles_; ++i) {
      finish(row_tiles_[i]);
    }
    tiles_ = 0;
  }

  // Makes k_[i] and v_[i] point to slice i of the span.
  void load_span(int64_t span) {
    if (span == loaded_span_) {
      return;
    }
    loaded_span_ = span;
    const int64_t first = span * span_slices_;
    const int64_t slices = (task_.kv_len + kSliceKeys - 1) / kSliceKeys;
    const int count = static_cast<int>(min(span_slices_, slices - first));
    for (int i = 0; i < count; ++i) {
      const std::byte* k = task_.kv.k_slice(first + i);
      const std::byte* v = task_.kv.v_slice(first + i);
      if constexpr (Dot::kReadsCache) {
        k_[i] = reinterpret_cast<const Unit*>(k);
        v_[i] = reinterpret_cast<const Unit*>(v);
      } else {
        Unit* wide_k = wide_k_ + int64_t{i} * kSliceKeys * head_dim();
        Unit* wide_v = wide_v_ + int64_t{i} * kSliceKeys * head_dim();
        Dot::widen_slices(k, v, head_dim(), wide_k, wide_v);
        k_[i] = wide_k;
        v_[i] = wide_v;
      }
    }
  }

  void visit_span(RowTile& tile, int64_t span) {
    load_span(span);
    const int64_t origin = span * span_slices_;
    // Slices of the span that some row sees, and the tiles of keys they are in.
    const int begin = static_cast<int>(max(0, tile.visible.begin / kSliceKeys - origin));
    const int end =
        static_cast<int>(min(span_slices_, (tile.visible.end - 1) / kSliceKeys + 1 - origin));

    F span_max = L::load(tile.m);
    for (int i = begin; i < end; i = (i / tile_slices_ + 1) * tile_slices_) {
      F tile_max = L::set1(kMinusInfinity);
      for (int j = i; j < min(end, (i / tile_slices_ + 1) * tile_slices_); ++j) {
        tile_max = L::max(tile_max, score(tile, origin + j, k_[j], scores_ + j * kSliceFloats));
      }
      L::store(tile_max_[i / tile_slices_], tile_max);
      span_max = L::max(span_max, tile_max);
    }

    const F old_m = L::load(tile.m);
    const int kept = vote(tile, origin, begin, end, span_max);
    if (kept == 0) {
      return;
    }
    // A row that has seen nothing weighs everything with exp2(−inf) = 0, whatever the base.
    const F base = L::select(L::less(L::set1(kMinusInfinity), span_max), span_max, L::set1(0.0f));
    const F rescale = L::exp2(L::mul(L::sub(old_m, base), L::set1(scale_.to_log2)));
    L::store(tile.m, span_max);
    F l = L::mul(L::load(tile.l), rescale);
    for (int i = 0; i < kept; ++i) {
      l = weigh(scores_ + kept_[i].in_span * kSliceFloats, base,
                weights_ + i * kVectorsPerSlice * kLanes, l);
    }
    L::store(tile.l, l);
    for (int d = 0; d < head_dim(); d += Dot::kBlock) {
      sum_values(tile.o + d * kLanes, rescale, d, kept);
    }
  }

  // Scores of one slice, [16 keys][16 rows]; returns the rows' maxima.
  F score(const RowTile& tile, int64_t slice, const Unit* k, float* scores) const {
    F maximum = L::set1(kMinusInfinity);
    for (int key = 0; key < kSliceKeys; key += Dot::kBlock) {
      F acc[Dot::kBlock];
      HOPSKIP_UNROLL
      for (int j = 0; j < Dot::kBlock; ++j) {
        acc[j] = L::set1(0.0f);
      }
      for (int i = 0; i < head_dim() / Dot::kPack; ++i) {
        const auto q = Dot::load(tile.q + i * kLanes);
        // Slices of a page follow each other; the hardware alone brings them from L2 too late.
        __builtin_prefetch(k + (head_dim() / Dot::kPack + i) * kSliceKeys + key);
        HOPSKIP_UNROLL
        for (int j = 0; j < Dot::kBlock; ++j) {
          acc[j] = Dot::dot(acc[j], k[i * kSliceKeys + key + j], q);
        }
      }
      HOPSKIP_UNROLL
      for (int j = 0; j < Dot::kBlock; ++j) {
        L::store(scores + (key + j) * kLanes, acc[j]);
        maximum = L::max(maximum, acc[j]);
      }
    }
    const int64_t first = slice * kSliceKeys;
    if (shape_.softcap > 0.0f || first < tile.all_see.begin ||
        first + kSliceKeys > tile.all_see.end) [[unlikely]] {
      maximum = adjust(tile, first, scores);
    }
    return maximum;
  }

  // Soft-cap and mask of one slice.
  F adjust(const RowTile& tile, int64_t first_key, float* scores) const {
    F maximum = L::set1(kMinusInfinity);
    if (shape_.softcap > 0.0f) {
      for (int key = 0; key < kSliceKeys; ++key) {
        L::store(scores + key * kLanes,
                 soft_cap<L>(L::load(scores + key * kLanes), shape_.scale, shape_.softcap));
      }
    }
    for (int row = 0; row < tile.rows; ++row) {
      const KeyRange seen = visible_keys(shape_, task_.position(tile.token + row), task_.kv_len);
      for (int key = 0; key < kSliceKeys; ++key) {
        if (first_key + key < seen.begin || first_key + key >= seen.end) {
          scores[key * kLanes + row] = kMinusInfinity;
        }
      }
    }
    for (int key = 0; key < kSliceKeys; ++key) {
      maximum = L::max(maximum, L::load(scores + key * kLanes));
    }
    return maximum;
  }

  // Fills kept_ with the slices [begin, end) whose tiles were not voted out; returns how many.
  int vote(RowTile& tile, int64_t origin, int begin, int end, F running_max) {
    const uint32_t abstain = ~0u << tile.rows;
    int kept = 0;
    for (int i = begin; i < end;) {
      const int t = i / tile_slices_;
      const int tile_end = static_cast<int>(min(end, (t + 1) * tile_slices_));
      const uint32_t agree = L::rows_agree(L::load(tile_max_[t]), running_max, threshold_);
      const bool skip = (agree | abstain) == ~0u;
      ++tile.counts.tiles;
      tile.counts.skipped += skip;
      if (task_.states != nullptr) [[unlikely]] {
        const int64_t row_tile =
            (task_.first_head + tile.head) * task_.row_tiles + tile.token / task_.plan.rows;
        task_.states[row_tile * task_.key_tiles + origin / tile_slices_ + t] =
            skip ? TileState::kSkipped : TileState::kKept;
      }
      for (; i < tile_end; ++i) {
        kept_[kept] = {v_[i], i};
        kept += !skip;
      }
    }
    return kept;
  }

  // Weights of one slice, [16 keys / kPack][16 rows]; returns `sum` plus what they sum to.
  F weigh(const float* scores, F base, Unit* weights, F sum) const {
    const F scale = L::set1(scale_.to_log2);
    const F minus_base = L::mul(base, L::set1(-scale_.to_log2));
    HOPSKIP_UNROLL
    for (int key = 0; key < kSliceKeys; key += 2) {
      const F a = L::exp2(L::fma(L::load(scores + key * kLanes), scale, minus_base));
      const F b = L::exp2(L::fma(L::load(scores + (key + 1) * kLanes), scale, minus_base));
      sum = Dot::store_weights(a, b, weights + key / Dot::kPack * kLanes, sum);
    }
    return sum;
  }

  // kBlock dimensions of the output, from dimension d.
  void sum_values(float* o, F rescale, int d, int kept) const {
    F acc[Dot::kBlock];
    HOPSKIP_UNROLL
    for (int j = 0; j < Dot::kBlock; ++j) {
      acc[j] = L::mul(L::load(o + j * kLanes), rescale);
    }
    const Unit* weights = weights_;
    for (int i = 0; i < kept; ++i) {
      const Unit* v = kept_[i].v + d;
      const Unit* next_v = kept_[i + 1 < kept ? i + 1 : i].v + d;
      for (int key = 0; key < kVectorsPerSlice; ++key) {
        const auto p = Dot::load(weights);
        __builtin_prefetch(next_v);
        HOPSKIP_UNROLL
        for (int j = 0; j < Dot::kBlock; ++j) {
          acc[j] = Dot::dot(acc[j], v[j], p);
        }
        weights += kLanes;
        v += head_dim();
        next_v += head_dim();
      }
    }
    HOPSKIP_UNROLL
    for (int j = 0; j < Dot::kBlock; ++j) {
      L::store(o + j * kLanes, acc[j]);
    }
  }

  void finish(const RowTile& tile) {
    for (int r = 0; r < tile.rows; ++r) {
      const int64_t token = tile.token + r;
      const RowResult row =
          finish_row(shape_, task_.first_head + tile.head, tile.m[r] * scale_.to_log2, tile.l[r]);
      float* out = task_.out + token * task_.out_stride + int64_t{tile.head} * head_dim();
      for (int d = 0; d < head_dim(); ++d) {
        out[d] = tile.o[d * kLanes + r] * row.factor;
      }
      if (task_.lse != nullptr) {
        task_.lse[token * shape_.num_heads + task_.first_head + tile.head] = row.lse;
      }
    }
    add_counts(task_.counts[tile.head], tile.counts);
  }

  static constexpr int kSliceFloats = kSliceKeys * kLanes;

  const AttentionTask& task_;
  const AttentionShape& shape_;
  const ScoreScale scale_;
  const F threshold_;
  const int span_slices_;
  const int tile_slices_;
  float* scores_;           // [span slices][16 keys][16 rows]
  Unit* weights_;           // [kept slices][16 / kPack][16 rows]
  Unit* q_;                 // [kMaxUnits][head_dim / kPack][16]
  float* o_;                // [kMaxUnits][head_dim][16]
  Unit* wide_k_ = nullptr;  // [span slices][head_dim][16 keys]
  Unit* wide_v_ = nullptr;  // [span slices][16 keys][head_dim]
  int64_t loaded_span_ = -1;
  int tiles_ = 0;
  RowTile row_tiles_[kMaxUnits];
  const Unit* k_[kMaxSpanSlices];
  const Unit* v_[kMaxSpanSlices];
  Kept kept_[kMaxSpanSlices + 1];
  alignas(64) float tile_max_[kMaxSpanSlices][kLanes];
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_PREFILL_H_
