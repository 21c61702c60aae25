#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/route.cuh"
#include "kernels/cuda/smxx/moe_route/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 128;

// A warp routes a token.
__global__ void __launch_bounds__(kThreads) moe_route(const MoeRouteArgs args) {
  let_next_start();
  wait_for_previous();
  const int64_t token = blockIdx.x * int64_t{kThreads / 32} + threadIdx.x / 32;
  if (token < args.tokens) {
    route_token(args.logits + token * args.stride, args.experts, args.k, args.renormalise,
                args.ids + token * args.k, args.weights + token * args.k);
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
