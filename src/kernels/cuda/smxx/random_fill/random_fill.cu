#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/smxx/random_fill/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads) random_fill(const RandomFillArgs args, bool lines) {
  const int64_t chunks = chunks_of(args.elements);
  for (int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x; item < chunks;
       item += int64_t{gridDim.x} * kThreads) {
    const int64_t begin = item * kChunk;
    int64_t row = begin / args.tensor.cols;
    int64_t col = begin % args.tensor.cols;
    float r[kChunk];
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      // Beyond the last element, too: store_chunk() leaves those out.
      r[i] = __bfloat162float(__float2bfloat16_rn(value_at(args.tensor, row, col)));
      if (++col == args.tensor.cols) {
        col = 0;
        ++row;
      }
    }
    store_chunk(static_cast<T*>(args.out) + begin, args.elements - begin, lines, r);
  }
}

}  // namespace smxx

void launch_random_fill(const RandomFillArgs& args, CudaStream stream) {
  if (args.elements == 0) {
    return;
  }
  const int grid = grid_for(chunks_of(args.elements), smxx::kThreads);
  if (args.out_is_f32) {
    smxx::random_fill<float>
        <<<grid, smxx::kThreads, 0, stream>>>(args, on_lines<float>(args.out, kChunk));
  } else {
    smxx::random_fill<__nv_bfloat16>
        <<<grid, smxx::kThreads, 0, stream>>>(args, on_lines<__nv_bfloat16>(args.out, kChunk));
  }
  check_launch(cudaGetLastError(), "random_fill");
}

}  // namespace hopskip::cuda
