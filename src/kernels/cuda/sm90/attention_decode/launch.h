// Decode attention on Hopper: a row of the table in select.cc.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_LAUNCH_H_

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

extern const AttentionKernel kSm90Decode;

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_LAUNCH_H_
