// A mixture of experts for a few tokens, in three launches: the router's logits, and the experts'
// two products, each (token, expert) on its own. More tokens share experts and are worth sorting
// (moe_permute).
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_MOE_FEW_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_MOE_FEW_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"
#include "kernels/cuda/smxx/gemv/launch.h"

namespace hopskip::cuda {

// Of 128 experts with 8 a token, 4 tokens have a tenth of theirs in common.
inline constexpr int kMoeFewTokens = 4;

// Matrices on lines of 16 bytes, their widths multiples of 8.
struct MoeFewArgs {
  float* x;            // [tokens][hidden], the residual stream: is added to
  const float* norm;   // [hidden]: RMS norm of x
  const void* router;  // [experts][hidden] BF16
  const void* gate;    // [experts][inner][hidden] BF16
  const void* up;      // [experts][inner][hidden] BF16
  const void* down;    // [experts][hidden][inner] BF16
  float* logits;       // [tokens][experts]
  void* products;      // [tokens][k][inner] BF16
  int64_t x_stride;
  int64_t logits_stride;
  int32_t tokens;   // ≤ kMoeFewTokens
  int32_t experts;  // ≤ 256
  int32_t k;        // ≤ 32, ≤ experts
  int32_t hidden;   // such that gemv_takes_norm()
  int32_t inner;
  float eps;
  bool renormalise;
};

// The product that gives the logits.
GemvArgs router_gemv(const MoeFewArgs& args);
// As Backend::moe() behind norm and router.
void launch_moe_few(const MoeFewArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_MOE_FEW_LAUNCH_H_
