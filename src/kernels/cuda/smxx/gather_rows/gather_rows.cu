#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/gather_rows/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;
constexpr int kRowsAtOnce = 4;  // so many loads of a thread are on their way

// A CTA has kRowsAtOnce rows at a time. Widths and strides count Units.
template <typename Unit>
__global__ void __launch_bounds__(kThreads) gather_rows(const GatherRowsArgs args) {
  wait_for_previous();
  for (int64_t first = int64_t{blockIdx.x} * kRowsAtOnce; first < args.rows;
       first += int64_t{gridDim.x} * kRowsAtOnce) {
    const Unit* from[kRowsAtOnce];  // null: nothing is copied
    HOPSKIP_UNROLL
    for (int i = 0; i < kRowsAtOnce; ++i) {
      const int64_t row = first + i;
      const int64_t index = row >= args.rows          ? -1
                            : args.index32 != nullptr ? args.index32[row]
                                                      : args.index64[row];
      from[i] = index >= 0 ? static_cast<const Unit*>(args.x) + index * args.x_stride : nullptr;
    }
    for (int64_t col = threadIdx.x; col < args.cols; col += kThreads) {
      Unit r[kRowsAtOnce];
      HOPSKIP_UNROLL
      for (int i = 0; i < kRowsAtOnce; ++i) {
        r[i] = from[i] != nullptr ? from[i][col] : Unit{};
      }
      HOPSKIP_UNROLL
      for (int i = 0; i < kRowsAtOnce; ++i) {
        if (from[i] != nullptr) {
          static_cast<Unit*>(args.out)[(first + i) * args.out_stride + col] = r[i];
        }
      }
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
                    dim3(grid_for(args.rows, smxx::kRowsAtOnce)), smxx::kThreads, 0, stream, args);
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
