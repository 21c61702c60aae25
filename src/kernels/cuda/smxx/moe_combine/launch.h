// Adds each token's expert rows, weighted, to the residual stream.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_MOE_COMBINE_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_MOE_COMBINE_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct MoeCombineArgs {
  const void* y;         // [max_rows][cols] BF16
  const int32_t* rows;   // [tokens][k]: MoeLayout::rows
  const float* weights;  // [tokens][k]
  float* out;            // [tokens][cols], rows out_stride elements apart; is added to
  int64_t tokens;
  int64_t cols;
  int64_t out_stride;
  int32_t k;
};

void launch_moe_combine(const MoeCombineArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_MOE_COMBINE_LAUNCH_H_
