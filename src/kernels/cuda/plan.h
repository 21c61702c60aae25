// From the sequences of a step to what kernels read: everything about plan() that needs no GPU.
#ifndef HOPSKIP_KERNELS_CUDA_PLAN_H_
#define HOPSKIP_KERNELS_CUDA_PLAN_H_

#include <cstdint>
#include <span>
#include <vector>

#include "attention/tile_plan.h"
#include "hopskip/attention.h"
#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

struct StepPlan {
  std::vector<Sequence> sequences;  // most work first
  std::vector<DecodeItem> items;    // decode only
  std::vector<int32_t> pages;
  int32_t num_items = 0;
  int32_t split_keys = 0;  // decode only
  TilePlan tile_plan;
  // Where each sequence's part of the skip map begins, in the user's order, and where all end.
  std::vector<int64_t> skip_map_offsets;
  // Extents that the tensors of run() must have.
  int64_t q_rows = 0;
  int64_t kv_tokens = 0;
  int64_t num_pages = 0;
};

// slots: CTAs that run at the same time. The plan fits decode_capacity(config, slots) and the
// config's max_sequences and max_pages. Throws InvalidArgument naming the sequence and field.
StepPlan make_step_plan(const AttentionConfig& config, const AttentionKernel& kernel, int slots,
                        std::span<const PlannedSequence> sequences);

// Items, and as many slots for partial results, that no plan exceeds. 0 in prefill.
int64_t decode_capacity(const AttentionConfig& config, int slots);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_PLAN_H_
