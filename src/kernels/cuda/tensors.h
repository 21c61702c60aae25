// From the tensors of a call to what kernels read.
#ifndef HOPSKIP_KERNELS_CUDA_TENSORS_H_
#define HOPSKIP_KERNELS_CUDA_TENSORS_H_

#include <cstdint>

#include "hopskip/attention.h"
#include "kernels/cuda/kernel_params.h"

namespace hopskip::cuda {

// Extents that a plan needs.
struct PlannedExtents {
  int64_t q_rows = 0;
  int64_t kv_tokens = 0;
  int64_t num_pages = 0;
};

// Fills what the config and the tensors determine; the plan's device pointers stay null. Throws
// InvalidArgument naming the tensor where it does not fit config or plan.
AttentionArgs make_args(const AttentionConfig& config, const AttentionTensors& tensors,
                        const PlannedExtents& planned);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_TENSORS_H_
