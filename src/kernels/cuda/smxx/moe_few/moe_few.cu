#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/route.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/skinny_product.cuh"
#include "kernels/cuda/smxx/moe_few/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kRows = 16;  // of a weight matrix in a CTA

// A token's experts, which every CTA chooses for itself: to write them down once and read them
// again takes longer.
struct Choice {
  int32_t ids[kMaxRouteChoices];
  float weights[kMaxRouteChoices];
};
__device__ inline void choose(const MoeFewArgs& args, int token, Choice& s_choice) {
  if (threadIdx.x < 32) {
    route_token(args.logits + token * args.logits_stride, args.experts, args.k, args.renormalise,
                s_choice.ids, s_choice.weights);
  }
  __syncthreads();
}

// products = silu(gate · x) · (up · x) of an expert that a token has chosen; blockIdx.y: the pair.
__global__ void __launch_bounds__(kSkinnyThreads, 2)
    moe_few_up(const __grid_constant__ MoeFewArgs args) {
  using Product = SkinnyProduct<2, 1>;
  __shared__ Product::Shared s;
  __shared__ NormShared s_norm;
  __shared__ Choice s_choice;
  extern __shared__ __align__(16) __nv_bfloat16 s_tokens[];
  wait_for_previous();
  const int pair = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x) * kRows;
  choose(args, pair / args.k, s_choice);
  const int64_t matrix = int64_t{s_choice.ids[pair % args.k]} * args.inner * args.hidden;
  Product::Rows rows;
  HOPSKIP_UNROLL
  for (int tile = 0; tile < 2; ++tile) {
    const auto* weights = static_cast<const __nv_bfloat16*>(tile == 0 ? args.gate : args.up);
    Product::set_tile(rows, tile, weights + matrix, first, args.inner - 1, args.hidden);
  }
  const auto prepare = [&] {
    stage_normed(args.x + pair / args.k * args.x_stride, args.x_stride, args.norm, 1, args.hidden,
                 s_tokens, s_norm);
    __syncthreads();
  };
  Product::run(rows, args.hidden,
               SharedTokens<decltype(prepare)>{prepare, s_tokens, 1, args.hidden}, s);
  const int row = static_cast<int>(threadIdx.x);
  if (row < kRows && first + row < args.inner) {
    const float factor = norm_factor(s_norm, 0, args.hidden, args.eps);
    static_cast<__nv_bfloat16*>(args.products)[int64_t{pair} * args.inner + first + row] =
        __float2bfloat16(silu(factor * Product::sum(s, 0, row)) *
                         (factor * Product::sum(s, 0, kRows + row)));
  }
}

// x += weighted sum over a token's experts of down · products; blockIdx.y: the token. Each
// warp has whole products of every eighth expert.
__global__ void __launch_bounds__(kSkinnyThreads, 2)
    moe_few_down(const __grid_constant__ MoeFewArgs args) {
  using Product = SkinnyProduct<1, 1, 1>;
  __shared__ Product::Shared s;
  __shared__ Choice s_choice;
  wait_for_previous();
  const int first = static_cast<int>(blockIdx.x) * kRows;
  const int token = static_cast<int>(blockIdx.y);
  choose(args, token, s_choice);
  const int warp = threadIdx.x / 32;
  float r_sum[1][1][4] = {};
  for (int choice = warp; choice < args.k; choice += kSkinnyWarps) {
    const int pair = token * args.k + choice;
    const auto* weights = static_cast<const __nv_bfloat16*>(args.down) +
                          int64_t{s_choice.ids[choice]} * args.hidden * args.inner;
    Product::Rows rows;
    Product::set_tile(rows, 0, weights, first, args.hidden - 1, args.inner);
    const auto* product =
        static_cast<const __nv_bfloat16*>(args.products) + int64_t{pair} * args.inner;
    const auto same = [&](int) { return product; };
    GlobalTokens<1, decltype(same)> tokens{same, args.inner, {}};
    float r_c[1][1][4] = {};
    Product::multiply(rows, args.inner, tokens, 0, r_c);
    HOPSKIP_UNROLL
    for (int i = 0; i < 4; ++i) {
      r_sum[0][0][i] += s_choice.weights[choice] * r_c[0][0][i];
    }
  }
  Product::store(r_sum, 1.0f, warp, s);
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x);
  if (row < kRows && first + row < args.hidden) {
    args.x[token * args.x_stride + first + row] += Product::sum(s, 0, row);
  }
}

}  // namespace smxx

GemvArgs router_gemv(const MoeFewArgs& args) {
  GemvArgs router{.x = args.x,
                  .x_stride = args.x_stride,
                  .tokens = args.tokens,
                  .in = args.hidden,
                  .norm = args.norm,
                  .eps = args.eps,
                  .num_terms = 1};
  router.terms[0] = {.w = args.router,
                     .y = args.logits,
                     .y_stride = args.logits_stride,
                     .out = args.experts,
                     .y_is_f32 = true};
  return router;
}

void launch_moe_few(const MoeFewArgs& args, CudaStream stream) {
  if (args.tokens == 0) {
    return;
  }
  const auto ctas = [](int rows) { return (rows + smxx::kRows - 1) / smxx::kRows; };
  const size_t bytes = size_t{2} * (args.hidden + kSharedTokenPad);
  check_launch(cudaFuncSetAttribute(smxx::moe_few_up, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)),
               "moe_few");
  launch_gemv(router_gemv(args), stream);
  launch_overlapped("moe_few", smxx::moe_few_up, dim3(ctas(args.inner), args.tokens * args.k),
                    kSkinnyThreads, bytes, stream, args);
  launch_overlapped("moe_few", smxx::moe_few_down, dim3(ctas(args.hidden), args.tokens),
                    kSkinnyThreads, 0, stream, args);
}

}  // namespace hopskip::cuda
