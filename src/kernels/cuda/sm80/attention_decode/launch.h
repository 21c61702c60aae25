// Decode attention for every GPU from Ampere on: a row of the table in select.cc.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_LAUNCH_H_

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

extern const AttentionKernel kSm80Decode;

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_LAUNCH_H_
