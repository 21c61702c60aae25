#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <string>

#include "bench/kernels/gpu_inputs.h"
#include "hopskip/error.h"

namespace hopskip::bench {
namespace {

__global__ void write_tensor(GpuInputs in, GpuTensor tensor, int64_t elements, __nv_bfloat16* out,
                             const int32_t* pages, int page_size) {
  const int64_t row = int64_t{in.num_heads} * in.head_dim;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < elements;
       i += int64_t{gridDim.x} * blockDim.x) {
    int64_t token = i / row;
    if (pages != nullptr) {
      token = pages[token / page_size] * int64_t{page_size} + token % page_size;
    }
    const int in_row = static_cast<int>(i % row);
    out[i] =
        __float2bfloat16(element_at(in, tensor, token, in_row / in.head_dim, in_row % in.head_dim));
  }
}

}  // namespace

void write_gpu_tensor(const GpuInputs& in, GpuTensor tensor, int64_t tokens, void* out,
                      const int32_t* pages, int page_size, CudaStream stream) {
  constexpr int kBlocks = 4096;
  constexpr int kThreads = 256;
  write_tensor<<<kBlocks, kThreads, 0, stream>>>(in, tensor, tokens * in.num_heads * in.head_dim,
                                                 static_cast<__nv_bfloat16*>(out), pages,
                                                 page_size);
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    throw Error(ErrorCode::kDevice,
                std::string("cannot write the inputs: ") + cudaGetErrorString(status));
  }
}

}  // namespace hopskip::bench
