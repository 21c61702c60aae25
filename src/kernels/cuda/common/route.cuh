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

// Numbers that compare as the floats do, but all above 0; of no NaN.
__device__ inline uint32_t float_rank(float x) {
  const uint32_t bits = __float_as_uint(x);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000;
}
__device__ inline float ranked_float(uint32_t rank) {
  return __uint_as_float((rank >> 31) != 0 ? rank & 0x7fffffff : ~rank);
}

// By a whole warp. logits [experts], experts ≤ 256; ids, weights [k], k ≤ 32: the largest logits
// first, of equal ones the lower expert, and their softmax over all experts, renormalised over the
// k chosen. A NaN counts as −inf.
__device__ inline void route_token(const float* logits, int experts, int k, bool renormalise,
                                   int32_t* ids, float* weights) {
  constexpr int kHeld = kMaxRouteExperts / 32;  // logits of a lane: expert lane + 32 · i
  constexpr uint32_t kAll = 0xffffffff;
  const int lane = threadIdx.x % 32;
  float r[kHeld];
  uint32_t rank[kHeld];  // ordered as the logits are; 0: cannot be chosen
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    const int expert = lane + 32 * i;
    const bool exists = expert < experts;
    r[i] = exists ? fmaxf(__ldcg(logits + expert), -INFINITY) + 0.0f : -INFINITY;  // no −0
    rank[i] = exists ? float_rank(r[i]) : 0;
  }

  // Lane j ends up with the j-th choice.
  float my_logit = -INFINITY;
  float largest = -INFINITY;
  int my_expert = 0;
  for (int choice = 0; choice < k; ++choice) {
    uint32_t best = rank[0];
    HOPSKIP_UNROLL
    for (int i = 1; i < kHeld; ++i) {
      best = max(best, rank[i]);
    }
    best = __reduce_max_sync(kAll, best);
    uint32_t expert = kMaxRouteExperts;
    HOPSKIP_UNROLL
    for (int i = kHeld - 1; i >= 0; --i) {
      expert = rank[i] == best ? lane + 32 * i : expert;
    }
    expert = __reduce_min_sync(kAll, expert);
    HOPSKIP_UNROLL
    for (int i = 0; i < kHeld; ++i) {
      rank[i] = expert == lane + 32 * i ? 0 : rank[i];
    }
    const float logit = ranked_float(best);
    largest = choice == 0 ? logit : largest;
    my_logit = lane == choice ? logit : my_logit;
    my_expert = lane == choice ? expert : my_expert;
  }
  float sum = 0.0f;
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    sum += expf(r[i] - largest);
  }
  sum = lanes_sum<32>(sum);
  float weight = lane < k ? expf(my_logit - largest) : 0.0f;
  weight /= renormalise ? lanes_sum<32>(weight) : sum;
  if (lane < k) {
    ids[lane] = my_expert;
    weights[lane] = weight;
  }
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_ROUTE_CUH_
