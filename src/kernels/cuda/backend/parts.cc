// What `hopskip info` says of the backend.
#include "kernels/cuda/backend/cublas_lt.h"
#include "kernels/cuda/backend/entry.h"
#include "kernels/cuda/device.h"

namespace hopskip {

std::vector<std::pair<std::string, std::string>> cuda_backend_parts(int device) {
  const std::string library = cuda::cublas_lt_name();
  const bool has_wgmma = cuda::gpu_properties(device).compute_capability == 90;
  return {
      {"products", library.empty() ? "none: " + cuda::why_no_cublas_lt() : library + ", BF16"},
      {"experts", has_wgmma ? "grouped_gemm (wgmma) for many rows an expert, grouped_gemv for few"
                            : "grouped_gemv"},
      {"CUDA", "driver for " + cuda::cuda_version_text(cuda::driver_version()) + ", built with " +
                   cuda::cuda_version_text(CUDART_VERSION)},
      {"does not run", "a KV cache in f16 or fp8, soft-caps, attention sinks: use another device"},
  };
}

}  // namespace hopskip
