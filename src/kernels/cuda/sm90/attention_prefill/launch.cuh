// Host side of a prefill instance; included by the instances only.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_LAUNCH_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_LAUNCH_CUH_

#include <numeric>

#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sm90/attention_prefill/kernel.cuh"

namespace hopskip::cuda::sm90 {

template <typename T, int kHeadDim>
void launch_prefill(const Launch& launch) {
  using Kernel = PrefillKernel<T, kHeadDim>;
  constexpr int kPanelColumns = 64;
  const AttentionArgs& args = launch.args;
  const int box_keys = args.page_size > 0 ? std::gcd(args.page_size, Kernel::kKeys) : Kernel::kKeys;
  const PrefillMaps maps{make_tensor_map(q_tensor(launch), kPanelColumns, Kernel::kRows),
                         make_tensor_map(kv_tensor(launch, args.k), kPanelColumns, box_keys),
                         make_tensor_map(kv_tensor(launch, args.v), kPanelColumns, box_keys),
                         box_keys};
  constexpr int kBytes = static_cast<int>(sizeof(typename Kernel::Shared));
  const auto kernel = attention_prefill<T, kHeadDim>;
  cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) {
    kernel<<<launch.num_ctas, Kernel::kConfig.threads(), kBytes, launch.stream>>>(args, maps);
    error = cudaGetLastError();
  }
  check_launch(error, "sm90 prefill");
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_LAUNCH_CUH_
