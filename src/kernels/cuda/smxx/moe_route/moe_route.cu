#include <cmath>

#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/reduce.cuh"
#include "kernels/cuda/smxx/moe_route/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 128;
constexpr int kHeld = 8;  // logits of a lane: expert lane + 32 · i

// A warp routes a token: lane j ends up with the j-th choice.
__global__ void __launch_bounds__(kThreads) moe_route(const MoeRouteArgs args) {
  let_next_start();
  wait_for_previous();
  const int64_t token = blockIdx.x * int64_t{kThreads / 32} + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (token >= args.tokens) {
    return;  // the whole warp
  }
  float r[kHeld];
  uint32_t free = 0;  // bit i: expert lane + 32 · i can still be chosen
  float largest = -INFINITY;
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    const int expert = lane + 32 * i;
    const bool exists = expert < args.experts;
    // A NaN shall not win; as −inf it loses to every number.
    r[i] = exists ? fmaxf(args.logits[token * args.stride + expert], -INFINITY) : -INFINITY;
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

  float my_logit = -INFINITY;
  int my_expert = 0;
  for (int choice = 0; choice < args.k; ++choice) {
    float best = -INFINITY;
    int expert = args.experts;
    HOPSKIP_UNROLL
    for (int i = 0; i < kHeld; ++i) {  // ascending: of equal logits the first stays
      if ((free >> i & 1) != 0 && (r[i] > best || expert == args.experts)) {
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
  float weight = lane < args.k ? expf(my_logit - largest) : 0.0f;
  weight /= args.renormalise ? lanes_sum<32>(weight) : sum;
  if (lane < args.k) {
    args.ids[token * args.k + lane] = my_expert;
    args.weights[token * args.k + lane] = weight;
  }
}

}  // namespace smxx

void launch_moe_route(const MoeRouteArgs& args, CudaStream stream) {
  if (args.tokens == 0) {
    return;
  }
  constexpr int kTokens = smxx::kThreads / 32;
  const auto ctas = static_cast<unsigned>((args.tokens + kTokens - 1) / kTokens);
  launch_overlapped("moe_route", smxx::moe_route, dim3(ctas), smxx::kThreads, 0, stream, args);
}

}  // namespace hopskip::cuda
