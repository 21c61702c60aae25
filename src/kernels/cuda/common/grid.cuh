// What every attention kernel asks of its arguments: a sequence's threshold, and the end of a
// persistent grid.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_GRID_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_GRID_CUH_

#include "attention/skip_rule.h"
#include "kernels/cuda/kernel_params.h"

namespace hopskip::cuda {

// log2(λ) of a sequence.
__device__ inline float sequence_threshold(const AttentionArgs& args, const Sequence& sequence) {
  const float t = args.threshold_log2 != nullptr ? args.threshold_log2[sequence.index]
                                                 : sequence.threshold_log2;
  return clamp_threshold_log2(t);
}

// By one thread of each CTA, after its last use of args.work: the last CTA makes the counters ready
// for the next launch.
__device__ inline void finish_grid(const AttentionArgs& args) {
  __threadfence();
  if (atomicAdd(&args.work[1], 1) == static_cast<int>(gridDim.x) - 1) {
    args.work[0] = 0;
    args.work[1] = 0;
  }
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_GRID_CUH_
