// A mixture of experts for a few tokens on Hopper (common/weight_stream.cuh). The arguments are
// those of the kernels that run on any GPU.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_MOE_FEW_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SM90_MOE_FEW_LAUNCH_H_

#include "kernels/cuda/smxx/moe_few/launch.h"

namespace hopskip::cuda {

// Whether the tokens, and the inner products of their experts, leave room for the weights in shared
// memory.
bool moe_few_stream_takes(const MoeFewArgs& args);
// As launch_moe_few(), of arguments that moe_few_stream_takes(). ctas: 0 stands for one on each
// multiprocessor, which have a share of the weights each.
void launch_moe_few_stream(const MoeFewArgs& args, CudaStream stream, int ctas = 0);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SM90_MOE_FEW_LAUNCH_H_
