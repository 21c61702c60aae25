// How decode divides the keys of its sequences among CTAs.
#ifndef HOPSKIP_KERNELS_CUDA_SPLIT_H_
#define HOPSKIP_KERNELS_CUDA_SPLIT_H_

#include <cstdint>
#include <span>

#include "attention/params.h"

namespace hopskip::cuda {

struct SplitProblem {
  std::span<const KeyRange> keys;  // that each sequence's query sees
  int num_kv_heads = 1;            // each has its own items
  int group = 1;                   // query heads of a KV head
  int multiple = 1;                // split_keys is one of it
  int slots = 1;                   // CTAs that run at the same time
};

// Ranges [i · split_keys, (i + 1) · split_keys) that have one of `keys`.
int64_t count_ranges(const KeyRange& keys, int64_t split_keys);

// Items that a plan for this problem may have: no choice of choose_split_keys exceeds it, and not
// to split never does.
int64_t max_items(int64_t sequences, int num_kv_heads, int slots);

// The split_keys with the least estimated_time of those that make one, two, … rounds of items, or
// that do not split at all.
int64_t choose_split_keys(const SplitProblem& problem);

// The time until the last item is done, in units of one key of one KV head, when items are handed
// out longest first to whichever slot is free.
int64_t estimated_time(const SplitProblem& problem, int64_t split_keys);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SPLIT_H_
