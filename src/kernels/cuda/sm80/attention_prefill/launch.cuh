// Host side of a prefill instance; included by the instances only.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_LAUNCH_CUH_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_LAUNCH_CUH_

#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sm80/attention_prefill/kernel.cuh"

namespace hopskip::cuda::sm80 {

template <typename T, int kHeadDim>
void launch_prefill(const Launch& launch) {
  constexpr int kBytes = static_cast<int>(sizeof(typename PrefillKernel<T, kHeadDim>::Shared));
  const auto kernel = attention_prefill<T, kHeadDim>;
  cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) {
    kernel<<<launch.num_ctas, kPrefillThreads, kBytes, launch.stream>>>(launch.args);
    error = cudaGetLastError();
  }
  check_launch(error, "sm80 prefill");
}

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_LAUNCH_CUH_
