// Host side of a decode instance; included by the instances only.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_LAUNCH_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_LAUNCH_CUH_

#include <algorithm>

#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sm90/attention_decode/kernel.cuh"

namespace hopskip::cuda::sm90 {

template <typename Q, typename Kv, int kHeadDim>
void launch_decode(const Launch& launch) {
  using Kernel = DecodeKernel<Q, Kv, kHeadDim>;
  const RowTensor k = kv_tensor(launch, launch.args.k);
  const RowTensor v = kv_tensor(launch, launch.args.v);
  const int box_keys = launch.args.page_size > 0
                           ? std::min(launch.args.page_size, Kernel::kStageKeys)
                           : Kernel::kStageKeys;
  const DecodeMaps maps{make_tensor_map(k, Kernel::kPanelColumns, box_keys),
                        make_tensor_map(v, Kernel::kPanelColumns, kDecodeSliceKeys), box_keys};
  const auto kernel = attention_decode<Q, Kv, kHeadDim>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           Kernel::kSharedBytes);
  if (error == cudaSuccess) {
    launch_overlapped("sm90 decode", kernel, dim3(launch.num_ctas), kDecodeThreads,
                      Kernel::kSharedBytes, launch.stream, launch.args, maps);
    error = launch_combine<Q, kHeadDim, true>(launch.args, launch.num_ctas, launch.stream);
  }
  check_launch(error, "sm90 decode");
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_LAUNCH_CUH_
