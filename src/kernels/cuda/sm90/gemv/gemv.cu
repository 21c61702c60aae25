#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/weight_stream.cuh"
#include "kernels/cuda/sm90/gemv/launch.h"
#include "kernels/cuda/smxx/gemv/store.cuh"

namespace hopskip::cuda {
namespace sm90 {

// Where a row of the stacked terms lies.
struct TermRow {
  int number;
  int row;
};
__device__ inline TermRow term_row(const GemvArgs& args, int unit) {
  TermRow at{0, unit};
  while (at.row >= args.terms[at.number].out) {
    at.row -= args.terms[at.number].out;
    ++at.number;
  }
  return at;
}

template <bool kGated, bool kNormed>
__global__ void __launch_bounds__(kStreamThreads, 1)
    gemv(const __grid_constant__ GemvArgs args, const __grid_constant__ StreamShape shape) {
  __shared__ StreamShared s;
  __shared__ NormShared s_norm;
  extern __shared__ __align__(128) uint8_t memory[];
  static_assert(sizeof(s) + sizeof(s_norm) <= kStreamStaticBytes);
  const WeightStream<kGated> weights{shape, s, memory};
  weights.begin();
  if (threadIdx.x >= kSkinnyThreads) {
    weights.produce([&](int unit, int matrix, int) {
      const TermRow at = kGated ? TermRow{matrix, unit} : term_row(args, unit);
      return static_cast<const __nv_bfloat16*>(args.terms[at.number].w) + int64_t{at.row} * args.in;
    });
    return;
  }
  wait_for_previous();
  if constexpr (kNormed) {
    stage_normed(static_cast<const float*>(args.x), args.x_stride, args.norm, args.tokens, args.in,
                 weights.s_x(), s_norm);
  } else {
    stage_rows(args.x, args.x_stride, args.tokens, args.in, weights.s_x(), weights.s_x_stride());
  }
  weights.sync_consumers();
  weights.consume(args.tokens, WholeRows{}, [&](int first, int count, auto sum) {
    for (int item = static_cast<int>(threadIdx.x); item < args.tokens * count;
         item += kSkinnyThreads) {
      const int token = item / count;
      const int in_tile = item % count;
      const TermRow at = kGated ? TermRow{0, first + in_tile} : term_row(args, first + in_tile);
      const GemvTerm& term = args.terms[at.number];
      const float factor = kNormed ? norm_factor(s_norm, token, args.in, args.eps) : 1.0f;
      const auto value_of = [&](const GemvTerm& of, int tile_row) {
        return factor * sum(token, tile_row) + (of.bias != nullptr ? of.bias[at.row] : 0.0f);
      };
      float value = value_of(term, in_tile);
      if constexpr (kGated) {
        value = silu(value) * value_of(args.terms[1], kStreamRows / 2 + in_tile);
      }
      store_gemv(term, token, at.row, value);
    }
  });
}

}  // namespace sm90

bool gemv_stream_takes(int64_t tokens, int64_t in) { return stream_takes(tokens, in); }

void launch_gemv_stream(const GemvArgs& args, CudaStream stream, int ctas) {
  if (args.tokens == 0) {
    return;
  }
  int units = 0;
  for (int i = 0; i < (args.gated ? 1 : args.num_terms); ++i) {
    units += args.terms[i].out;
  }
  const bool normed = args.norm != nullptr;
  const auto kernel = args.gated ? (normed ? sm90::gemv<true, true> : sm90::gemv<true, false>)
                                 : (normed ? sm90::gemv<false, true> : sm90::gemv<false, false>);
  launch_stream("gemv", kernel, args, args.tokens, units, 1, args.in, ctas, stream);
}

}  // namespace hopskip::cuda
