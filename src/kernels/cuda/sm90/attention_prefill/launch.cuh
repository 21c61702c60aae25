// Host side of a prefill instance; included by the instances only.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_LAUNCH_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_LAUNCH_CUH_

#include <numeric>

#include "base/check.h"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sm90/attention_prefill/kernel.cuh"

namespace hopskip::cuda::sm90 {

template <typename T, int kHeadDim>
void launch_prefill(const Launch& launch) {
  using Kernel = PrefillKernel<T, kHeadDim>;
  const AttentionConfig& config = launch.config;
  const AttentionArgs& args = launch.args;
  const bool paged = args.page_size > 0;
  const int box_keys = paged ? std::gcd(args.page_size, Kernel::kKeys) : Kernel::kKeys;
  const auto kv_tensor = [&](const void* data) {
    return RowTensor{data,
                     config.kv_type,
                     kHeadDim,
                     paged ? args.page_size : launch.kv_tokens,
                     args.num_kv_heads,
                     paged ? launch.num_pages : 1,
                     args.kv.token,
                     args.kv.head,
                     paged ? args.kv.page : launch.kv_tokens * args.kv.token};
  };
  const RowTensor q{args.q,
                    config.q_type,
                    kHeadDim,
                    launch.q_rows,
                    args.num_heads,
                    1,
                    args.q_row_stride,
                    args.q_head_stride,
                    launch.q_rows * args.q_row_stride};
  const PrefillMaps maps{make_tensor_map(q, 64, Kernel::kRows),
                         make_tensor_map(kv_tensor(args.k), 64, box_keys),
                         make_tensor_map(kv_tensor(args.v), 64, box_keys), box_keys};
  constexpr int kBytes = static_cast<int>(sizeof(typename Kernel::Shared));
  const auto kernel = attention_prefill<T, kHeadDim>;
  cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) {
    kernel<<<launch.num_ctas, Kernel::kConfig.threads(), kBytes, launch.stream>>>(args, maps);
    error = cudaGetLastError();
  }
  check(error == cudaSuccess, ErrorCode::kDevice, "the sm90 prefill kernel did not start: {}",
        cudaGetErrorString(error));
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_LAUNCH_CUH_
