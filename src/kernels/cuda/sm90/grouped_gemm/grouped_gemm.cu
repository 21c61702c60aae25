#include <algorithm>

#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/sm90/grouped_gemm/kernel.cuh"

namespace hopskip::cuda {
namespace {

// Matrices [count][rows][cols].
RowTensor matrices(const void* data, int64_t count, int64_t rows, int64_t cols) {
  return {.data = data,
          .type = ScalarType::kBF16,
          .columns = cols,
          .tokens = rows,
          .heads = count,
          .pages = 1,
          .token_stride = cols,
          .head_stride = rows * cols,
          .page_stride = count * rows * cols};
}

template <bool kGated>
cudaError_t launch(const GroupedGemmArgs& args, const sm90::GemmMaps& maps, CudaStream stream) {
  constexpr int kBytes = static_cast<int>(sizeof(typename sm90::GemmKernel<kGated>::Shared));
  const auto kernel = sm90::grouped_gemm<kGated>;
  int device = 0;
  int multiprocessors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  }
  if (error == cudaSuccess) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  }
  if (error == cudaSuccess) {
    kernel<<<multiprocessors, sm90::kGemmThreads, kBytes, stream>>>(args, maps);
    error = cudaGetLastError();
  }
  return error;
}

}  // namespace

void launch_grouped_gemm(const GroupedGemmArgs& args, CudaStream stream) {
  if (args.max_rows == 0) {
    return;
  }
  const auto weights = [&](const void* b) {
    return make_tensor_map(matrices(b, args.experts, args.out, args.in), sm90::kGemmDepth,
                           sm90::kGemmHalf);
  };
  const bool gated = args.b_up != nullptr;
  const sm90::GemmMaps maps{make_tensor_map(matrices(args.a, 1, args.max_rows, args.in),
                                            sm90::kGemmDepth, kGroupedGemmRows),
                            weights(args.b), weights(gated ? args.b_up : args.b)};
  check_launch(gated ? launch<true>(args, maps, stream) : launch<false>(args, maps, stream),
               "grouped_gemm");
}

}  // namespace hopskip::cuda
