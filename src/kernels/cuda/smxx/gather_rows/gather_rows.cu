#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/gather_rows/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;

// Widths and strides count Units.
template <typename Unit>
__global__ void __launch_bounds__(kThreads) gather_rows(const GatherRowsArgs args) {
  let_next_start();
  wait_for_previous();
  for (int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x; item < args.rows * args.cols;
       item += int64_t{gridDim.x} * kThreads) {
    const int64_t row = item / args.cols;
    const int64_t col = item % args.cols;
    const int64_t from = args.index32 != nullptr ? args.index32[row] : args.index64[row];
    if (from >= 0) {
      static_cast<Unit*>(args.out)[row * args.out_stride + col] =
          static_cast<const Unit*>(args.x)[from * args.x_stride + col];
    }
  }
}

}  // namespace smxx

namespace {

template <typename Unit>
void launch(GatherRowsArgs args, CudaStream stream) {
  for (int64_t* extent : {&args.cols, &args.x_stride, &args.out_stride}) {
    *extent = *extent * args.element_bytes / static_cast<int64_t>(sizeof(Unit));
  }
  launch_overlapped("gather_rows", smxx::gather_rows<Unit>,
                    dim3(grid_for(args.rows * args.cols, smxx::kThreads)), smxx::kThreads, 0,
                    stream, args);
}

bool fits(const GatherRowsArgs& args, int64_t unit) {
  return (args.cols * args.element_bytes) % unit == 0 &&
         (args.x_stride * args.element_bytes) % unit == 0 &&
         (args.out_stride * args.element_bytes) % unit == 0 &&
         reinterpret_cast<uintptr_t>(args.x) % unit == 0 &&
         reinterpret_cast<uintptr_t>(args.out) % unit == 0;
}

}  // namespace

void launch_gather_rows(const GatherRowsArgs& args, CudaStream stream) {
  if (args.rows * args.cols == 0) {
    return;
  }
  if (fits(args, sizeof(uint4))) {
    launch<uint4>(args, stream);
  } else if (fits(args, sizeof(uint32_t))) {
    launch<uint32_t>(args, stream);
  } else {
    launch<uint16_t>(args, stream);
  }
}

}  // namespace hopskip::cuda
