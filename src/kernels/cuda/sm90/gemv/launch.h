// Products of up to 8 tokens on Hopper (common/weight_stream.cuh). The arguments are those of the
// kernel that runs on any GPU.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_GEMV_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SM90_GEMV_LAUNCH_H_

#include "kernels/cuda/smxx/gemv/launch.h"

namespace hopskip::cuda {

// Whether the tokens leave room for the weights in shared memory.
bool gemv_stream_takes(int64_t tokens, int64_t in);
// As launch_gemv(), of tokens that gemv_stream_takes(). ctas: 0 stands for one on each
// multiprocessor, which have a share of the weights each.
void launch_gemv_stream(const GemvArgs& args, CudaStream stream, int ctas = 0);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SM90_GEMV_LAUNCH_H_
