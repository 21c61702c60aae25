// Root mean square normalisation of rows, or of each head of a token.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_RMS_NORM_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_RMS_NORM_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct RmsNormArgs {
  const void* x;        // [tokens][heads][cols], F32 or BF16; tokens x_stride elements apart
  const float* weight;  // [cols]
  void* out;            // like x, BF16, tokens out_stride apart; may be x where that is BF16
  int64_t tokens;
  int64_t x_stride;
  int64_t out_stride;
  int32_t heads;  // rows of a token; 1: a plain [tokens][cols]
  int32_t cols;
  float eps;
  bool x_is_f32;
};

// out = x · weight / sqrt(mean(x²) + eps) of each row, computed in fp32.
void launch_rms_norm(const RmsNormArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_RMS_NORM_LAUNCH_H_
