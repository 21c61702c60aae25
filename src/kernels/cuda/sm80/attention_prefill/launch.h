// Prefill attention for every GPU from Ampere on: a row of the table in select.cc.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_LAUNCH_H_

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

extern const AttentionKernel kSm80Prefill;

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_LAUNCH_H_
