#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/embed/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) embed(const EmbedArgs args, bool lines) {
  let_next_start();
  wait_for_previous();
  const int64_t row_chunks = chunks_of(args.hidden);
  for (int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x; item < args.tokens * row_chunks;
       item += int64_t{gridDim.x} * kThreads) {
    const int64_t token = item / row_chunks;
    const int64_t col = item % row_chunks * kChunk;
    const int64_t count = args.hidden - col;
    float r[kChunk];
    load_chunk(static_cast<const __nv_bfloat16*>(args.table) + args.ids[token] * args.hidden + col,
               count, lines, r);
    store_chunk(args.out + token * args.out_stride + col, count, lines, r);
  }
}

}  // namespace smxx

void launch_embed(const EmbedArgs& args, CudaStream stream) {
  const int64_t items = args.tokens * chunks_of(args.hidden);
  if (items == 0) {
    return;
  }
  const bool lines = on_lines<__nv_bfloat16>(args.table, args.hidden) &&
                     on_lines<float>(args.out, args.out_stride);
  launch_overlapped("embed", smxx::embed, dim3(grid_for(items, smxx::kThreads)), smxx::kThreads, 0,
                    stream, args, lines);
}

}  // namespace hopskip::cuda
