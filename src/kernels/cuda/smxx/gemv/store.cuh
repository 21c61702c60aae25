// What every kernel of products with terms does with a value.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_GEMV_STORE_CUH_
#define HOPSKIP_KERNELS_CUDA_SMXX_GEMV_STORE_CUH_

#include <cuda_bf16.h>

#include "kernels/cuda/smxx/gemv/launch.h"

namespace hopskip::cuda {

__device__ inline void store_gemv(const GemvTerm& term, int token, int row, float value) {
  if (term.y_is_f32) {
    float& y = static_cast<float*>(term.y)[token * term.y_stride + row];
    y = value + (term.accumulate ? y : 0.0f);
  } else {
    auto& y = static_cast<__nv_bfloat16*>(term.y)[token * term.y_stride + row];
    y = __float2bfloat16(value + (term.accumulate ? __bfloat162float(y) : 0.0f));
  }
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_GEMV_STORE_CUH_
