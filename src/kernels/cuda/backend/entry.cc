#include "kernels/cuda/backend/entry.h"

#include "base/check.h"
#include "kernels/cuda/backend/cublas_lt.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/device.h"

namespace hopskip {
namespace {

constexpr int kOldestCapability = 80;

// Empty: it is not.
std::string why_too_old(int device) {
  const int capability = cuda::gpu_properties(device).compute_capability;
  return capability >= kOldestCapability
             ? ""
             : fmt::format("compute capability {}.{} of CUDA device {} is below {}.{}",
                           capability / 10, capability % 10, device, kOldestCapability / 10,
                           kOldestCapability % 10);
}

}  // namespace

std::string why_no_cuda_backend(const BackendOptions& options) {
  if (!options.simd.empty()) {
    return fmt::format("instruction set '{}' is for the cpu", options.simd);
  }
  for (Phase phase : kPhases) {
    if (options.tile_plans[phase]) {
      return fmt::format("GPU kernels have tile plans of their own, '{}' cannot be followed",
                         to_string(*options.tile_plans[phase]));
    }
  }
  const cuda::GpuCount gpus = cuda::count_gpus();
  if (gpus.count == 0) {
    return "no CUDA device: " + gpus.why_none;
  }
  if (options.device < 0 || options.device >= gpus.count) {
    return fmt::format(
        "no CUDA device {}: this machine has {}", options.device,
        gpus.count == 1 ? "cuda:0 only" : fmt::format("cuda:0 to cuda:{}", gpus.count - 1));
  }
  const std::string too_old = why_too_old(options.device);
  return too_old.empty() ? cuda::why_no_cublas_lt() : too_old;
}

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

std::vector<std::pair<std::string, std::string>> cuda_backend_parts(int device) {
  if (const std::string reason = why_too_old(device); !reason.empty()) {
    return {{"does not run", reason}};
  }
  const std::string library = cuda::cublas_lt_name();
  const bool has_wgmma = cuda::gpu_properties(device).compute_capability == 90;
  return {
      {"products", library.empty() ? "none: " + cuda::why_no_cublas_lt()
                                   : library + " in BF16; gemv for few tokens"},
      {"experts",
       has_wgmma ? "grouped_gemm (wgmma) for many rows an expert, grouped_gemv and moe_few for few"
                 : "grouped_gemv, moe_few for few tokens"},
      {"CUDA", "driver for " + cuda::cuda_version_text(cuda::driver_version()) + ", built with " +
                   cuda::cuda_version_text(CUDART_VERSION)},
      {"does not run", "a KV cache in f16, soft-caps, attention sinks: use another device"},
  };
}

}  // namespace hopskip
