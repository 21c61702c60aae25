// The most likely token of each row of logits.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_ARGMAX_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_ARGMAX_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct ArgmaxArgs {
  const float* logits;  // [rows][vocab], rows `stride` elements apart
  int32_t* ids;         // [rows]; of equal logits the lowest; NaN loses against everything
  int64_t rows;
  int64_t stride;
  int32_t vocab;  // > 0
};

void launch_argmax(const ArgmaxArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_ARGMAX_LAUNCH_H_
