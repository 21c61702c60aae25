#include "kernels/cuda/common/route.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/weight_stream.cuh"
#include "kernels/cuda/sm90/gemv/launch.h"
#include "kernels/cuda/sm90/moe_few/launch.h"

namespace hopskip::cuda {
namespace sm90 {

// A producer a token chooses its experts, in every CTA: to write them down once and read them again
// takes longer.
struct Choices {
  int32_t ids[kMoeFewTokens * kMaxRouteChoices];  // [tokens][k]
  float weights[kMoeFewTokens * kMaxRouteChoices];
};
static_assert(kMoeFewTokens <= kStreamProducers);
__device__ inline void choose(const MoeFewArgs& args, Choices& s_choices) {
  const int token = (static_cast<int>(threadIdx.x) - kSkinnyThreads) / 32;
  if (token < args.tokens) {
    route_token(args.logits + token * args.logits_stride, args.experts, args.k, args.renormalise,
                s_choices.ids + token * args.k, s_choices.weights + token * args.k);
  }
  ptx::named_barrier_sync(kProducersBarrier, 32 * kStreamProducers);
}

// products = silu(gate · x) · (up · x) of the experts that the tokens have chosen. A unit is a
// pair's row.
__global__ void __launch_bounds__(kStreamThreads, 1)
    moe_few_up(const __grid_constant__ MoeFewArgs args, const __grid_constant__ StreamShape shape) {
  __shared__ StreamShared s;
  __shared__ NormShared s_norm;
  __shared__ Choices s_choices;
  extern __shared__ __align__(128) uint8_t memory[];
  static_assert(sizeof(s) + sizeof(s_norm) + sizeof(s_choices) <= kStreamStaticBytes);
  const WeightStream<true> weights{shape, s, memory};
  weights.begin();
  if (threadIdx.x >= kSkinnyThreads) {
    wait_for_previous();
    choose(args, s_choices);
    weights.produce([&](int unit, int matrix, int) {
      const int pair = unit / args.inner;
      const int64_t row = int64_t{s_choices.ids[pair]} * args.inner + unit % args.inner;
      return static_cast<const __nv_bfloat16*>(matrix == 0 ? args.gate : args.up) +
             row * args.hidden;
    });
    return;
  }
  // Whoever wrote x came before the router's kernel: see overlap.cuh.
  stage_normed(args.x, args.x_stride, args.norm, args.tokens, args.hidden, weights.s_x(), s_norm);
  wait_for_previous();
  weights.sync_consumers();
  weights.consume(args.tokens, WholeRows{}, [&](int first, int count, auto sum) {
    const int in_tile = static_cast<int>(threadIdx.x);
    if (in_tile < count) {
      const int unit = first + in_tile;
      const int token = unit / args.inner / args.k;
      const float factor = norm_factor(s_norm, token, args.hidden, args.eps);
      static_cast<__nv_bfloat16*>(args.products)[unit] = __float2bfloat16(
          silu(factor * sum(token, in_tile)) * (factor * sum(token, kStreamRows / 2 + in_tile)));
    }
  });
}

// x += weighted sum over a token's experts of down · products. A unit is a token's row; its
// segments are the experts'.
__global__ void __launch_bounds__(kStreamThreads, 1)
    moe_few_down(const __grid_constant__ MoeFewArgs args,
                 const __grid_constant__ StreamShape shape) {
  __shared__ StreamShared s;
  __shared__ Choices s_choices;
  extern __shared__ __align__(128) uint8_t memory[];
  const WeightStream<false> weights{shape, s, memory};
  const int length = args.k * args.inner;
  weights.begin();
  if (threadIdx.x >= kSkinnyThreads) {
    // The logits came before moe_few_up: see overlap.cuh.
    choose(args, s_choices);
    weights.produce([&](int unit, int, int segment) {
      const int64_t expert = s_choices.ids[unit / args.hidden * args.k + segment];
      return static_cast<const __nv_bfloat16*>(args.down) +
             (expert * args.hidden + unit % args.hidden) * args.inner;
    });
    return;
  }
  wait_for_previous();
  stage_rows(args.products, length, args.tokens, length, weights.s_x(), weights.s_x_stride());
  weights.sync_consumers();
  weights.consume(
      args.tokens,
      // Written by a producer before the ring's first barrier let this warp pass.
      [&](int segment, int token) { return s_choices.weights[token * args.k + segment]; },
      [&](int first, int count, auto sum) {
        const int in_tile = static_cast<int>(threadIdx.x);
        if (in_tile < count) {
          const int unit = first + in_tile;
          const int token = unit / args.hidden;
          args.x[token * args.x_stride + unit % args.hidden] += sum(token, in_tile);
        }
      });
}

}  // namespace sm90

bool moe_few_stream_takes(const MoeFewArgs& args) {
  return stream_takes(args.tokens, args.hidden) &&
         stream_takes(args.tokens, int64_t{args.k} * args.inner);
}

void launch_moe_few_stream(const MoeFewArgs& args, CudaStream stream, int ctas) {
  if (args.tokens == 0) {
    return;
  }
  launch_gemv_stream(router_gemv(args), stream, ctas);
  launch_stream("moe_few", sm90::moe_few_up, args, args.tokens, args.tokens * args.k * args.inner,
                1, args.hidden, ctas, stream);
  launch_stream("moe_few", sm90::moe_few_down, args, args.tokens, args.tokens * args.hidden, args.k,
                args.inner, ctas, stream);
}

}  // namespace hopskip::cuda
