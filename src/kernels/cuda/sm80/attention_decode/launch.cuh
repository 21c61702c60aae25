// Host side of a decode instance; included by the instances only.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_LAUNCH_CUH_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_LAUNCH_CUH_

#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sm80/attention_decode/kernel.cuh"

namespace hopskip::cuda::sm80 {

template <typename Q, typename Kv, int kHeadDim>
void launch_decode(const Launch& launch) {
  using Kernel = DecodeKernel<Q, Kv, kHeadDim>;
  constexpr int kBytes = static_cast<int>(sizeof(typename Kernel::Shared));
  const auto kernel = attention_decode<Q, Kv, kHeadDim>;
  cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) {
    kernel<<<launch.num_ctas, Kernel::kThreads, kBytes, launch.stream>>>(launch.args);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) {
    error = launch_combine<Q, kHeadDim, false>(launch.args, launch.num_ctas, launch.stream);
  }
  check_launch(error, "sm80 decode");
}

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_LAUNCH_CUH_
