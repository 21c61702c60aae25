#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/moe_combine/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) moe_combine(const MoeCombineArgs args, bool lines) {
  let_next_start();
  wait_for_previous();
  const int64_t row_chunks = chunks_of(args.cols);
  for (int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x; item < args.tokens * row_chunks;
       item += int64_t{gridDim.x} * kThreads) {
    const int64_t token = item / row_chunks;
    const int64_t col = item % row_chunks * kChunk;
    const int64_t count = args.cols - col;
    float* out = args.out + token * args.out_stride + col;
    float sum[kChunk];
    load_chunk(out, count, lines, sum);
    HOPSKIP_UNROLL_BY(4)
    for (int i = 0; i < args.k; ++i) {
      const int64_t row = args.rows[token * args.k + i];
      const float weight = args.weights[token * args.k + i];
      float y[kChunk];
      load_chunk(static_cast<const __nv_bfloat16*>(args.y) + row * args.cols + col, count, lines,
                 y);
      HOPSKIP_UNROLL
      for (int j = 0; j < kChunk; ++j) {
        sum[j] += weight * y[j];
      }
    }
    store_chunk(out, count, lines, sum);
  }
}

}  // namespace smxx

void launch_moe_combine(const MoeCombineArgs& args, CudaStream stream) {
  const int64_t items = args.tokens * chunks_of(args.cols);
  if (items == 0) {
    return;
  }
  const bool lines =
      on_lines<__nv_bfloat16>(args.y, args.cols) && on_lines<float>(args.out, args.out_stride);
  launch_overlapped("moe_combine", smxx::moe_combine, dim3(grid_for(items, smxx::kThreads)),
                    smxx::kThreads, 0, stream, args, lines);
}

}  // namespace hopskip::cuda
