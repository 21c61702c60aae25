// The table of attention kernels, and which of them takes a configuration.
#ifndef HOPSKIP_KERNELS_CUDA_SELECT_H_
#define HOPSKIP_KERNELS_CUDA_SELECT_H_

#include <span>

#include "hopskip/attention.h"
#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

// Best first.
std::span<const AttentionKernel* const> attention_kernels();

// The first kernel of the table that can run a valid config on its device, or the one that it
// names. Throws Unsupported with each candidate's reason, InvalidArgument for an unknown name.
const AttentionKernel& select_kernel(const AttentionConfig& config);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SELECT_H_
