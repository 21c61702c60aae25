#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/route.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/skinny_product.cuh"
#include "kernels/cuda/smxx/moe_few/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kRows = 16;  // of a weight matrix in a CTA

// The router's logits, 16 experts a CTA; the last CTA to end chooses the experts of all tokens. The
// first one also writes what the norm gives, for the experts.
__global__ void __launch_bounds__(kSkinnyThreads, 2)
    moe_few_route(const __grid_constant__ MoeFewArgs args) {
  using Product = SkinnyProduct<1, 1>;
  __shared__ Product::Shared s;
  __shared__ NormShared s_norm;
  __shared__ bool s_last;
  extern __shared__ __align__(16) __nv_bfloat16 s_tokens[];
  let_next_start();
  const int first = static_cast<int>(blockIdx.x) * kRows;
  Product::Rows rows;
  Product::set_tile(rows, 0, args.router, first, args.experts - 1, args.hidden);
  const auto prepare = [&] {
    wait_for_previous();
    stage_normed(args.x, args.x_stride, args.norm, args.tokens, args.hidden, s_tokens, s_norm);
  };
  Product::run(rows, args.hidden,
               SharedTokens<decltype(prepare)>{prepare, s_tokens, args.tokens, args.hidden}, s);
  if (blockIdx.x == 0) {
    write_normed(args.x, args.x_stride, args.norm, args.tokens, args.hidden, args.eps, s_norm,
                 static_cast<__nv_bfloat16*>(args.normed), args.normed_stride);
  }
  for (int item = threadIdx.x; item < args.tokens * kRows; item += kSkinnyThreads) {
    const int token = item / kRows;
    const int row = item % kRows;
    if (first + row < args.experts) {
      args.logits[token * args.logits_stride + first + row] =
          norm_factor(s_norm, token, args.hidden, args.eps) * Product::sum(s, token, row);
    }
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    s_last = atomicAdd(args.ticket, 1) == static_cast<int>(gridDim.x) - 1;
  }
  __syncthreads();
  if (!s_last) {
    return;
  }
  __threadfence();
  const int token = threadIdx.x / 32;
  if (token < args.tokens) {
    route_token(args.logits + token * args.logits_stride, args.experts, args.k, args.renormalise,
                args.ids + token * args.k, args.weights + token * args.k);
  }
  if (threadIdx.x == 0) {
    *args.ticket = 0;
  }
}

// products = silu(gate · x) · (up · x) of an expert that a token has chosen; blockIdx.y: the pair.
__global__ void __launch_bounds__(kSkinnyThreads, 2)
    moe_few_up(const __grid_constant__ MoeFewArgs args) {
  using Product = SkinnyProduct<2, 1>;
  __shared__ Product::Shared s;
  let_next_start();
  wait_for_previous();
  const int pair = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x) * kRows;
  const int64_t matrix = int64_t{args.ids[pair]} * args.inner * args.hidden;
  Product::Rows rows;
  HOPSKIP_UNROLL
  for (int tile = 0; tile < 2; ++tile) {
    const auto* weights = static_cast<const __nv_bfloat16*>(tile == 0 ? args.gate : args.up);
    Product::set_tile(rows, tile, weights + matrix, first, args.inner - 1, args.hidden);
  }
  const auto* x =
      static_cast<const __nv_bfloat16*>(args.normed) + pair / args.k * args.normed_stride;
  const auto token = [&](int) { return x; };
  Product::run(rows, args.hidden, GlobalTokens<1, decltype(token)>{token, args.hidden, {}}, s);
  const int row = static_cast<int>(threadIdx.x);
  if (row < kRows && first + row < args.inner) {
    static_cast<__nv_bfloat16*>(args.products)[int64_t{pair} * args.inner + first + row] =
        __float2bfloat16(silu(Product::sum(s, 0, row)) * Product::sum(s, 0, 16 + row));
  }
}

// x += weighted sum over a token's experts of down · products; blockIdx.y: the token. Each
// warp has whole products of every eighth expert.
__global__ void __launch_bounds__(kSkinnyThreads, 2)
    moe_few_down(const __grid_constant__ MoeFewArgs args) {
  using Product = SkinnyProduct<1, 1, 1>;
  __shared__ Product::Shared s;
  let_next_start();
  wait_for_previous();
  const int first = static_cast<int>(blockIdx.x) * kRows;
  const int token = static_cast<int>(blockIdx.y);
  const int warp = threadIdx.x / 32;
  float r_sum[1][1][4] = {};
  for (int choice = warp; choice < args.k; choice += kSkinnyWarps) {
    const int pair = token * args.k + choice;
    const auto* weights = static_cast<const __nv_bfloat16*>(args.down) +
                          int64_t{args.ids[pair]} * args.hidden * args.inner;
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
      r_sum[0][0][i] += args.weights[pair] * r_c[0][0][i];
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

void launch_moe_few(const MoeFewArgs& args, CudaStream stream) {
  if (args.tokens == 0) {
    return;
  }
  const auto ctas = [](int rows) { return (rows + smxx::kRows - 1) / smxx::kRows; };
  const size_t bytes = size_t{2} * args.tokens * (args.hidden + kSharedTokenPad);
  check_launch(
      cudaFuncSetAttribute(smxx::moe_few_route, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(bytes)),
      "moe_few");
  launch_overlapped("moe_few", smxx::moe_few_route, dim3(ctas(args.experts)), kSkinnyThreads, bytes,
                    stream, args);
  launch_overlapped("moe_few", smxx::moe_few_up, dim3(ctas(args.inner), args.tokens * args.k),
                    kSkinnyThreads, 0, stream, args);
  launch_overlapped("moe_few", smxx::moe_few_down, dim3(ctas(args.hidden), args.tokens),
                    kSkinnyThreads, 0, stream, args);
}

}  // namespace hopskip::cuda
