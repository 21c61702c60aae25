// A CTA multiplies 32 weight rows of one expert, gated: 16 of each matrix, with the expert's
// tokens; see common/skinny_product.cuh.
#include <algorithm>

#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/skinny_product.cuh"
#include "kernels/cuda/smxx/grouped_gemv/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kTiles = 2;

template <bool kGated>
constexpr int kOutRows = kGated ? 16 : 16 * kTiles;

// `tokens` rows of c from first_row on, at most 8 · kGroups; rows of c from out_row on.
template <int kGroups, bool kGated>
__device__ void multiply(const GroupedGemvArgs& args,
                         typename SkinnyProduct<kTiles, kGroups>::Shared& s,
                         const typename SkinnyProduct<kTiles, kGroups>::Rows& rows, int out_row,
                         int first_row, int tokens) {
  using Product = SkinnyProduct<kTiles, kGroups>;
  const auto token = [&](int i) {
    const int row = first_row + min(i, tokens - 1);
    const int64_t from = args.a_rows != nullptr ? args.a_rows[row] : row;
    return static_cast<const __nv_bfloat16*>(args.a) + from * args.a_stride;
  };
  Product::run(rows, args.in, GlobalTokens<kGroups, decltype(token)>{token, args.in, {}}, s);
  constexpr int kRows = kOutRows<kGated>;
  for (int item = threadIdx.x; item < tokens * kRows; item += kSkinnyThreads) {
    const int token = item / kRows;
    const int row = item % kRows;
    float value = Product::sum(s, token, row);
    if constexpr (kGated) {
      value = silu(value) * Product::sum(s, token, 16 + row);
    }
    if (out_row + row < args.out) {
      static_cast<__nv_bfloat16*>(args.c)[int64_t{first_row + token} * args.out + out_row + row] =
          __float2bfloat16(value);
    }
  }
  __syncthreads();
}

template <bool kGated>
__global__ void __launch_bounds__(kSkinnyThreads, 2) grouped_gemv(const GroupedGemvArgs args) {
  __shared__ union {
    SkinnyProduct<kTiles, 1>::Shared one;
    SkinnyProduct<kTiles, 2>::Shared two;
    SkinnyProduct<kTiles, 4>::Shared four;
  } s;
  let_next_start();
  wait_for_previous();
  if (static_cast<int>(blockIdx.y) >= *args.num_active) {
    return;
  }
  const int expert = args.active[blockIdx.y];
  const int out_row = static_cast<int>(blockIdx.x) * kOutRows<kGated>;
  const __nv_bfloat16* rows[kTiles][2];
  HOPSKIP_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    const auto* weights =
        static_cast<const __nv_bfloat16*>(kGated && tile == 1 ? args.b_up : args.b);
    SkinnyProduct<kTiles, 1>::set_tile(rows, tile, weights + int64_t{expert} * args.out * args.in,
                                       out_row + (kGated ? 0 : 16 * tile), args.out - 1, args.in);
  }
  const int begin = args.offsets[expert];
  const int count = args.counts[expert];
  for (int done = 0; done < count; done += kSkinnyMaxTokens) {
    const int tokens = min(count - done, kSkinnyMaxTokens);
    if (tokens <= 8) {
      multiply<1, kGated>(args, s.one, rows, out_row, begin + done, tokens);
    } else if (tokens <= 16) {
      multiply<2, kGated>(args, s.two, rows, out_row, begin + done, tokens);
    } else {
      multiply<4, kGated>(args, s.four, rows, out_row, begin + done, tokens);
    }
  }
}

}  // namespace smxx

void launch_grouped_gemv(const GroupedGemvArgs& args, CudaStream stream) {
  if (args.max_active == 0) {
    return;
  }
  const bool gated = args.b_up != nullptr;
  const int rows = gated ? smxx::kOutRows<true> : smxx::kOutRows<false>;
  const dim3 grid((args.out + rows - 1) / rows, args.max_active);
  launch_overlapped("grouped_gemv", gated ? smxx::grouped_gemv<true> : smxx::grouped_gemv<false>,
                    grid, kSkinnyThreads, 0, stream, args);
}

}  // namespace hopskip::cuda
