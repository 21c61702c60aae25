// A CTA has 16 or 32 weight rows of one term, gated: 16 of each; see common/skinny_product.cuh. Its
// first loads of weights, which no kernel writes, run while the kernel before ends.
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/skinny_product.cuh"
#include "kernels/cuda/smxx/gemv/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kMultiprocessors = 132;  // of most GPUs at hand; a guide for the size of CTAs

template <int kTiles, int kGroups, bool kGated>
__global__ void __launch_bounds__(kSkinnyThreads, 2) gemv(const __grid_constant__ GemvArgs args) {
  using Product = SkinnyProduct<kTiles, kGroups>;
  __shared__ typename Product::Shared s;
  constexpr int kOutRows = kGated ? 16 : 16 * kTiles;
  let_next_start();
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
  bool waits = true;
  Product::run(
      rows, args.in,
      [&](int token) {
        if (waits) {
          wait_for_previous();
          waits = false;
        }
        return static_cast<const __nv_bfloat16*>(args.x) +
               min(token, args.tokens - 1) * args.x_stride;
      },
      s);

  for (int item = threadIdx.x; item < args.tokens * kOutRows; item += kSkinnyThreads) {
    const int token = item / kOutRows;
    const int row = first + item % kOutRows;
    if (row >= term.out) {
      continue;
    }
    const auto value_of = [&](const GemvTerm& of, int tile_row) {
      return Product::sum(s, token, tile_row) + (of.bias != nullptr ? of.bias[row] : 0.0f);
    };
    float value = value_of(term, item % kOutRows);
    if constexpr (kGated) {
      value = silu(value) * value_of(args.terms[1], 16 + item % kOutRows);
    }
    if (term.y_is_f32) {
      float& y = static_cast<float*>(term.y)[token * term.y_stride + row];
      y = value + (term.accumulate ? y : 0.0f);
    } else {
      auto& y = static_cast<__nv_bfloat16*>(term.y)[token * term.y_stride + row];
      y = __float2bfloat16(value + (term.accumulate ? __bfloat162float(y) : 0.0f));
    }
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
  const auto kernel = args.tokens <= 8    ? smxx::gemv<kTiles, 1, kGated>
                      : args.tokens <= 16 ? smxx::gemv<kTiles, 2, kGated>
                                          : smxx::gemv<kTiles, 4, kGated>;
  launch_overlapped("gemv", kernel, dim3(ctas), kSkinnyThreads, 0, stream, args);
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
