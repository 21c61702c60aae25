// Constants of the online softmax that kernels share.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_ONLINE_SOFTMAX_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_ONLINE_SOFTMAX_CUH_

namespace hopskip::cuda {

// Weights are exp2(score − base) with a base that follows the running maximum only when that is
// this far ahead: a weight may grow to 2^8 before sums are rescaled. Their fp32 has room, and the
// rescaling, a tenth of the softmax if done with every new maximum, becomes rare.
inline constexpr float kSlackLog2 = 8.0f;
// Base of a row that has seen nothing: below every finite score, and finite, so that −inf − base is
// −inf.
inline constexpr float kNoBase = -1.5e38f;

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_ONLINE_SOFTMAX_CUH_
