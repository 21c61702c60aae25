// What attention kernels receive: plain structs of device pointers, the same for every GPU
// generation.
#ifndef HOPSKIP_KERNELS_CUDA_KERNEL_PARAMS_H_
#define HOPSKIP_KERNELS_CUDA_KERNEL_PARAMS_H_

#include <cstdint>

#include "hopskip/types.h"

namespace hopskip::cuda {

// One sequence of a plan, in device memory. Sequences are sorted: most work first.
struct Sequence {
  int32_t q_begin;  // its first row in q, out, lse
  int32_t q_len;
  int32_t kv_len;
  int32_t kv_begin;    // contiguous: its first token in k, v; paged: its first entry in `pages`
  int32_t index;       // its number in the user's order: counts, thresholds
  int32_t first_item;  // prefill: work items of the sequences before it
  float threshold_log2;
  int32_t reserved;
  int64_t skip_map;  // offset of its part of the skip map
};

// A range of keys of one KV head of one sequence in decode, computed by one CTA. Ranges of one
// (sequence, KV head) are consecutive items.
struct DecodeItem {
  int32_t sequence;  // in `sequences`
  int32_t kv_head;
  int32_t key_begin;      // a multiple of split_keys
  int32_t key_end;        // ≤ key_begin + split_keys, ≤ kv_len
  int32_t split;          // this range's number in its (sequence, KV head) …
  int32_t num_splits;     // … of how many
  int32_t first_partial;  // slot of split 0 in the partial results; split i has first_partial + i
};

// Strides in elements. A key's row in k is data + page · page + token · token + head · head.
struct KvStrides {
  int64_t page;
  int64_t token;
  int64_t head;
};

struct AttentionArgs {
  const void* q;  // [q rows][num_heads][head_dim]
  void* out;      // like q
  const void* k;
  const void* v;
  int64_t q_row_stride, q_head_stride;
  int64_t out_row_stride, out_head_stride;
  KvStrides kv;
  int32_t page_size;  // 0: contiguous
  int32_t page_log2;  // log2(page_size), 0 where contiguous

  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t group;     // num_heads / num_kv_heads
  int32_t causal;    // 0 or 1
  int32_t window;    // 0: none
  float scale_log2;  // scale · log2(e), with FP8 also · k_scale: log2 score = scale_log2 · q·k
  float v_scale;     // 1 unless FP8

  const int32_t* pages;          // page tables of all sequences, one behind the other
  const Sequence* sequences;     // [num_sequences]
  const int32_t* num_sequences;  // device: changes between replays of a graph
  const int32_t* num_items;      // device: work items of the plan
  int32_t* work;  // [2], 0 between launches: items handed out, CTAs that have finished

  float* lse;                   // [q rows][num_heads] or null
  SkipCounts* counts;           // [sequences][num_heads] or null
  const float* threshold_log2;  // [sequences] in the user's order, or null
  uint8_t* skip_map;            // or null

  // Decode only.
  const DecodeItem* items;    // [num_items]
  const int32_t* split_keys;  // device; keys of one CTA's range
  float* partial_out;         // [partials][group][head_dim], each divided by its own sum
  float* partial_lse;         // [partials][group], log2 units; −inf: the range holds nothing
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_KERNEL_PARAMS_H_
