// Which experts each token goes to, and with which weights.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_MOE_ROUTE_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_MOE_ROUTE_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct MoeRouteArgs {
  const float* logits;  // [tokens][experts], rows `stride` elements apart
  int32_t* ids;         // [tokens][k]: the largest logits first, of equal ones the lower expert
  float* weights;       // [tokens][k]: softmax over all experts, …
  bool renormalise;     // … divided by the sum of the chosen k
  int64_t tokens;
  int64_t stride;
  int32_t experts;  // ≤ 256
  int32_t k;        // ≤ 32, ≤ experts
};

void launch_moe_route(const MoeRouteArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_MOE_ROUTE_LAUNCH_H_
