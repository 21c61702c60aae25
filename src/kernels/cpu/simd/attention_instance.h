// Fills the table of attention kernels from a Dot policy, and writes the cache.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_INSTANCE_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_INSTANCE_H_

#include "kernels/cpu/simd/attention_common.h"
#include "kernels/cpu/simd/attention_decode.h"
#include "kernels/cpu/simd/attention_dot.h"
#include "kernels/cpu/simd/attention_kernels.h"
#include "kernels/cpu/simd/attention_prefill.h"

namespace hopskip {
namespace {

template <typename Dot>
struct AttentionInstance {
  using L = typename Dot::Lanes;
  using Element = typename Dot::Element;

  static void append(const KvHead& kv, int head_dim, const float* k, const float* v,
                     int64_t k_stride, int64_t v_stride, int64_t position, int64_t tokens) {
    Element row[kMaxHeadDim];
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t slice = (position + t) / kSliceKeys;
      const int key = static_cast<int>((position + t) % kSliceKeys);
      auto* k_slice = reinterpret_cast<Element*>(kv.k_slice(slice));
      auto* v_slice = reinterpret_cast<Element*>(kv.v_slice(slice));
      if (key == 0 && t + kSliceKeys > tokens) {
        // Values that no key of the sequence has yet are multiplied with zero weights.
        __builtin_memset(kv.v_slice(slice), 0, kv.slice_bytes);
      }
      L::narrow(k + t * k_stride, row, head_dim);
      for (int d = 0; d < head_dim; d += 2) {
        __builtin_memcpy(k_slice + d * kSliceKeys + 2 * key, row + d, 2 * sizeof(Element));
      }
      L::narrow(v + t * v_stride, row, head_dim);
      for (int d = 0; d < head_dim; ++d) {
        v_slice[(key / 2 * head_dim + d) * 2 + key % 2] = row[d];
      }
    }
  }

  static void prefill(const AttentionTask& task, int64_t token_begin, int64_t token_end,
                      std::byte* scratch) {
    switch (task.shape->head_dim) {
      case 64:
        return Prefill<Dot, 64>(task, scratch).run(token_begin, token_end);
      case 128:
        return Prefill<Dot, 128>(task, scratch).run(token_begin, token_end);
      default:
        return Prefill<Dot, 0>(task, scratch).run(token_begin, token_end);
    }
  }
  static void decode_scores(const AttentionTask& task, const DecodeState& state, int64_t split,
                            std::byte* scratch) {
    switch (task.shape->head_dim) {
      case 64:
        return Decode<Dot, 64>(task, state, split).scores(scratch);
      case 128:
        return Decode<Dot, 128>(task, state, split).scores(scratch);
      default:
        return Decode<Dot, 0>(task, state, split).scores(scratch);
    }
  }
  static void decode_values(const AttentionTask& task, const DecodeState& state, int64_t split,
                            std::byte* scratch) {
    switch (task.shape->head_dim) {
      case 64:
        return Decode<Dot, 64>(task, state, split).values(scratch);
      case 128:
        return Decode<Dot, 128>(task, state, split).values(scratch);
      default:
        return Decode<Dot, 0>(task, state, split).values(scratch);
    }
  }
  static void decode_combine(const AttentionTask& task, const DecodeState& state) {
    Decode<Dot, 0>(task, state, 0).combine();
  }
  static uint32_t rows_agree(const float* tile_max, const float* running_max, float threshold) {
    return L::rows_agree(L::load(tile_max), L::load(running_max), L::set1(threshold));
  }

  static constexpr AttentionKernels kTable{append,        prefill,        decode_scores,
                                           decode_values, decode_combine, rows_agree};
};

}  // namespace
}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_INSTANCE_H_
