// What one attention call computes, independent of who computes it.
#ifndef HOPSKIP_ATTENTION_PARAMS_H_
#define HOPSKIP_ATTENTION_PARAMS_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "attention/skip_rule.h"
#include "hopskip/types.h"

namespace hopskip {

// score(i, j) = cap(scale · q_i · k_j), cap(x) = softcap · tanh(x / softcap) where softcap > 0.
struct AttentionShape {
  int num_heads = 0;     // query heads
  int num_kv_heads = 0;  // divides num_heads; heads [g · group, (g + 1) · group) share KV head g
  int head_dim = 0;
  float scale = 0.0f;
  float softcap = 0.0f;
  // Keys a query sees at most, itself included; 0: all.
  int window = 0;
  bool causal = true;
  // A sink logit joins its head's row sums and takes no value: [num_heads], natural units; or null.
  const float* sinks = nullptr;

  int group() const { return num_heads / num_kv_heads; }
};

// One sequence's part of a ragged batch.
struct AttentionSequence {
  int64_t q_begin = 0;  // row of its first query token in q and out
  int64_t q_len = 0;
  int64_t kv_len =
      0;  // keys in the cache, this step's included; query i stands at kv_len − q_len + i
  // Block table: page p holds keys [p · page_size, (p + 1) · page_size).
  std::span<const int32_t> pages;
  Phase phase = Phase::kPrefill;
  float threshold_log2 = kDenseThresholdLog2;  // from skip_threshold_log2
};

// The keys [begin, end) that a query at `position` sees of kv_len keys.
struct KeyRange {
  int64_t begin = 0;
  int64_t end = 0;
};

inline KeyRange visible_keys(const AttentionShape& shape, int64_t position, int64_t kv_len) {
  KeyRange range{0, shape.causal ? std::min(position + 1, kv_len) : kv_len};
  if (shape.window > 0) {
    range.begin = std::max<int64_t>(0, position + 1 - shape.window);
  }
  return range;
}

// Throws InvalidArgument naming the field unless the shape can be computed.
void validate(const AttentionShape& shape);

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_PARAMS_H_
