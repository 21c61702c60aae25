// Which (sequence, head, rows) a prefill work item is. Items of a sequence are ordered so that CTAs
// that run at the same time read the same K and V: KV head by KV head, the rows that see most keys
// first, and for each of them all heads of the group.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_PREFILL_SCHEDULE_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_PREFILL_SCHEDULE_CUH_

#include "kernels/cuda/kernel_params.h"

namespace hopskip::cuda {

struct PrefillItem {
  int sequence;  // in AttentionArgs::sequences
  int head;
  int kv_head;
  int row_begin;  // first query token, counted within the sequence
};

// item < *args.num_items. kRows: query tokens of an item; host and device agree on it.
template <int kRows>
__device__ inline PrefillItem prefill_item(const AttentionArgs& args, int item) {
  int low = 0;
  int high = *args.num_sequences - 1;
  while (low < high) {  // the last sequence with first_item ≤ item
    const int middle = (low + high + 1) / 2;
    if (args.sequences[middle].first_item <= item) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const Sequence& sequence = args.sequences[low];
  const int row_tiles = (sequence.q_len + kRows - 1) / kRows;
  const int local = item - sequence.first_item;
  const int in_group = local % args.group;
  const int row_tile = row_tiles - 1 - local / args.group % row_tiles;
  const int kv_head = local / (args.group * row_tiles);
  return {low, kv_head * args.group + in_group, kv_head, row_tile * kRows};
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_PREFILL_SCHEDULE_CUH_
