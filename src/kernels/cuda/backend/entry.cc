#include "kernels/cuda/backend/entry.h"

#include "base/check.h"
#include "kernels/cuda/backend/cublas_lt.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/device.h"

namespace hopskip {
namespace {

constexpr int kOldestCapability = 80;

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
    return fmt::format("no CUDA device {}: this machine has {}", options.device, gpus.count);
  }
  const int capability = cuda::gpu_properties(options.device).compute_capability;
  if (capability < kOldestCapability) {
    return fmt::format("compute capability {}.{} of CUDA device {} is below {}.{}", capability / 10,
                       capability % 10, options.device, kOldestCapability / 10,
                       kOldestCapability % 10);
  }
  return cuda::why_no_cublas_lt();
}

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace hopskip
