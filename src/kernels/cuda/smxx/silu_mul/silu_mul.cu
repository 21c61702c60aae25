#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/smxx/silu_mul/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) silu_mul(const SiluMulArgs args, bool lines) {
  let_next_start();
  wait_for_previous();
  const int64_t row_chunks = chunks_of(args.cols);
  for (int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x; item < args.rows * row_chunks;
       item += int64_t{gridDim.x} * kThreads) {
    const int64_t row = item / row_chunks;
    const int64_t col = item % row_chunks * kChunk;
    const int64_t count = args.cols - col;
    float gate[kChunk];
    float up[kChunk];
    load_chunk(static_cast<const __nv_bfloat16*>(args.gate) + row * args.gate_stride + col, count,
               lines, gate);
    load_chunk(static_cast<const __nv_bfloat16*>(args.up) + row * args.up_stride + col, count,
               lines, up);
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      up[i] *= silu(gate[i]);
    }
    store_chunk(static_cast<__nv_bfloat16*>(args.out) + row * args.out_stride + col, count, lines,
                up);
  }
}

}  // namespace smxx

void launch_silu_mul(const SiluMulArgs& args, CudaStream stream) {
  const int64_t items = args.rows * chunks_of(args.cols);
  if (items == 0) {
    return;
  }
  const bool lines = on_lines<__nv_bfloat16>(args.gate, args.gate_stride) &&
                     on_lines<__nv_bfloat16>(args.up, args.up_stride) &&
                     on_lines<__nv_bfloat16>(args.out, args.out_stride);
  launch_overlapped("silu_mul", smxx::silu_mul, dim3(grid_for(items, smxx::kThreads)),
                    smxx::kThreads, 0, stream, args, lines);
}

}  // namespace hopskip::cuda
