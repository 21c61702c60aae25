// The choice of a token's experts.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_ROUTE_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_ROUTE_CUH_

#include <cmath>
#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/reduce.cuh"

namespace hopskip::cuda {

inline constexpr int kMaxRouteExperts = 256;
inline constexpr int kMaxRouteChoices = 32;

// By a whole warp. logits [experts], experts ≤ 256; ids, weights [k], k ≤ 32: the largest logits
// first, of equal ones the lower expert, and their softmax over all experts, renormalised over the
// k chosen. A NaN loses to every number.
__device__ inline void route_token(const float* logits, int experts, int k, bool renormalise,
                                   int32_t* ids, float* weights) {
  constexpr int kHeld = kMaxRouteExperts / 32;  // logits of a lane: expert lane + 32 · i
  const int lane = threadIdx.x % 32;
  float r[kHeld];
  uint32_t free = 0;  // bit i: expert lane + 32 · i can still be chosen
  float largest = -INFINITY;
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    const int expert = lane + 32 * i;
    const bool exists = expert < experts;
    r[i] = exists ? fmaxf(__ldcg(logits + expert), -INFINITY) : -INFINITY;
    free |= exists ? 1u << i : 0u;
    largest = fmaxf(largest, r[i]);
  }
  largest = lanes_max<32>(largest);
  float sum = 0.0f;
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    sum += expf(r[i] - largest);
  }
  sum = lanes_sum<32>(sum);

  // Lane j ends up with the j-th choice.
  float my_logit = -INFINITY;
  int my_expert = 0;
  for (int choice = 0; choice < k; ++choice) {
    float best = -INFINITY;
    int expert = experts;
    HOPSKIP_UNROLL
    for (int i = 0; i < kHeld; ++i) {  // ascending: of equal logits the first stays
      if ((free >> i & 1) != 0 && (r[i] > best || expert == experts)) {
        best = r[i];
        expert = lane + 32 * i;
      }
    }
    HOPSKIP_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(0xffffffff, best, distance);
      const int other_expert = __shfl_xor_sync(0xffffffff, expert, distance);
      if (other > best || (other == best && other_expert < expert)) {
        best = other;
        expert = other_expert;
      }
    }
    if (expert % 32 == lane) {
      free &= ~(1u << expert / 32);
    }
    if (lane == choice) {
      my_logit = best;
      my_expert = expert;
    }
  }
  float weight = lane < k ? expf(my_logit - largest) : 0.0f;
  weight /= renormalise ? lanes_sum<32>(weight) : sum;
  if (lane < k) {
    ids[lane] = my_expert;
    weights[lane] = weight;
  }
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_ROUTE_CUH_
