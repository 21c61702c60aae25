// A CTA has 16 or 32 weight rows of one term, gated: 16 of each; see common/skinny_product.cuh. Its
// first loads of weights, which no kernel writes, run while the kernel before ends.
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/skinny_product.cuh"
#include "kernels/cuda/smxx/gemv/launch.h"
#include "kernels/cuda/smxx/gemv/store.cuh"

namespace hopskip::cuda {
namespace smxx {

static_assert(kGemvMaxTokens == kSkinnyMaxTokens);
constexpr int kMultiprocessors = 132;  // of most GPUs at hand; a guide for the size of CTAs

template <int kTiles, int kGroups, bool kGated, bool kNormed>
__global__ void __launch_bounds__(kSkinnyThreads, 2) gemv(const __grid_constant__ GemvArgs args) {
  using Product = SkinnyProduct<kTiles, kGroups>;
  __shared__ typename Product::Shared s;
  __shared__ NormShared s_norm;
  extern __shared__ __align__(16) __nv_bfloat16 s_tokens[];  // kNormed: [tokens][in + pad]
  constexpr int kOutRows = kGated ? 16 : 16 * kTiles;
  int cta = static_cast<int>(blockIdx.x);
  int number = 0;
  if constexpr (!kGated) {
    while (cta * kOutRows >= args.terms[number].out) {  // the grid ends with the last term's rows
      cta -= (args.terms[number].out + kOutRows - 1) / kOutRows;
      ++number;
    }
  }
  const GemvTerm& term = args.terms[number];
  const int first = cta * kOutRows;
  typename Product::Rows rows;
  HOPSKIP_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    const void* w = kGated ? args.terms[tile].w : term.w;
    Product::set_tile(rows, tile, w, first + (kGated ? 0 : 16 * tile), term.out - 1, args.in);
  }
  if constexpr (kNormed) {
    const auto prepare = [&] {
      wait_for_previous();
      stage_normed(static_cast<const float*>(args.x), args.x_stride, args.norm, args.tokens,
                   args.in, s_tokens, s_norm);
      __syncthreads();
    };
    Product::run(rows, args.in,
                 SharedTokens<decltype(prepare)>{prepare, s_tokens, args.tokens, args.in}, s);
  } else {
    bool waits = true;
    const auto token = [&](int i) {
      if (waits) {
        wait_for_previous();
        waits = false;
      }
      return static_cast<const __nv_bfloat16*>(args.x) + min(i, args.tokens - 1) * args.x_stride;
    };
    Product::run(rows, args.in, GlobalTokens<kGroups, decltype(token)>{token, args.in, {}}, s);
  }

  for (int item = threadIdx.x; item < args.tokens * kOutRows; item += kSkinnyThreads) {
    const int token = item / kOutRows;
    const int row = first + item % kOutRows;
    if (row >= term.out) {
      continue;
    }
    const float factor = kNormed ? norm_factor(s_norm, token, args.in, args.eps) : 1.0f;
    const auto value_of = [&](const GemvTerm& of, int tile_row) {
      return factor * Product::sum(s, token, tile_row) + (of.bias != nullptr ? of.bias[row] : 0.0f);
    };
    float value = value_of(term, item % kOutRows);
    if constexpr (kGated) {
      value = silu(value) * value_of(args.terms[1], 16 + item % kOutRows);
    }
    store_gemv(term, token, row, value);
  }
}

}  // namespace smxx

namespace {

template <int kTiles, bool kGated>
void launch(const GemvArgs& args, CudaStream stream) {
  constexpr int kOutRows = kGated ? 16 : 16 * kTiles;
  int ctas = 0;
  for (int i = 0; i < (kGated ? 1 : args.num_terms); ++i) {
    ctas += (args.terms[i].out + kOutRows - 1) / kOutRows;
  }
  const bool normed = args.norm != nullptr;
  const auto kernel = normed              ? smxx::gemv<kTiles, 1, kGated, true>
                      : args.tokens <= 8  ? smxx::gemv<kTiles, 1, kGated, false>
                      : args.tokens <= 16 ? smxx::gemv<kTiles, 2, kGated, false>
                                          : smxx::gemv<kTiles, 4, kGated, false>;
  const size_t bytes = normed ? size_t{2} * args.tokens * (args.in + kSharedTokenPad) : 0;
  if (normed) {
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(bytes)),
                 "gemv");
  }
  // Without a norm and with several CTAs on a multiprocessor an early start has cost more than it
  // gave (docs/kernels/gpu_ops.md).
  launch_overlapped_if(normed || ctas <= smxx::kMultiprocessors, "gemv", kernel, dim3(ctas),
                       kSkinnyThreads, bytes, stream, args);
}

}  // namespace

void launch_gemv(const GemvArgs& args, CudaStream stream) {
  if (args.tokens == 0) {
    return;
  }
  if (args.gated) {
    launch<2, true>(args, stream);
    return;
  }
  int rows = 0;
  for (int i = 0; i < args.num_terms; ++i) {
    rows += args.terms[i].out;
  }
  if (rows >= 32 * smxx::kMultiprocessors) {
    launch<2, false>(args, stream);
  } else {
    launch<1, false>(args, stream);
  }
}

}  // namespace hopskip::cuda
