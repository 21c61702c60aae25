#include "kernels/cuda/select.h"

#include <string>

#include "base/check.h"
#include "kernels/cuda/config_check.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/sm80/attention_decode/launch.h"
#include "kernels/cuda/sm80/attention_prefill/launch.h"
#include "kernels/cuda/sm90/attention_decode/launch.h"
#include "kernels/cuda/sm90/attention_prefill/launch.h"

namespace hopskip::cuda {
namespace {

// A new GPU generation is a row here. Pointers, because the rows are constants of other files.
constexpr const AttentionKernel* kKernels[] = {
    &kSm90Prefill,
    &kSm90Decode,
    &kSm80Prefill,
    &kSm80Decode,
};

// The GPU that a config names, or why there is none.
struct Gpu {
  GpuProperties properties;
  std::string why_none;
};

Gpu find_gpu(int device) {
  const GpuCount gpus = count_gpus();
  if (gpus.count == 0) {
    return {{}, "no CUDA device: " + gpus.why_none};
  }
  if (device < 0 || device >= gpus.count) {
    return {{},
            fmt::format("device {} is not one of the {} CUDA devices here", device, gpus.count)};
  }
  try {
    return {gpu_properties(device), ""};
  } catch (const Error& error) {
    return {{}, error.what()};
  }
}

std::string why_not(const AttentionKernel& kernel, const AttentionConfig& config, const Gpu& gpu) {
  if (!config.kernel.empty() && config.kernel != kernel.name) {
    return fmt::format("the config asks for '{}'", config.kernel);
  }
  return gpu.why_none.empty() ? kernel.why_not(config, gpu.properties) : gpu.why_none;
}

void check_name(const AttentionConfig& config) {
  if (config.kernel.empty()) {
    return;
  }
  std::string names;
  for (const AttentionKernel* kernel : kKernels) {
    if (kernel->phase == config.phase) {
      if (config.kernel == kernel->name) {
        return;
      }
      names += fmt::format("{}'{}'", names.empty() ? "" : ", ", kernel->name);
    }
  }
  fail(ErrorCode::kInvalidArgument, "no kernel of {} is called '{}'; there are {}",
       phase_name(config.phase), config.kernel, names);
}

}  // namespace

std::span<const AttentionKernel* const> attention_kernels() { return kKernels; }

const AttentionKernel& select_kernel(const AttentionConfig& config) {
  check_name(config);
  const Gpu gpu = find_gpu(config.device);
  std::string reasons;
  for (const AttentionKernel* kernel : kKernels) {
    if (kernel->phase != config.phase) {
      continue;
    }
    const std::string reason = why_not(*kernel, config, gpu);
    if (reason.empty()) {
      return *kernel;
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", kernel->name, reason);
  }
  fail(ErrorCode::kUnsupported, "no kernel can run this attention. {}", reasons);
}

}  // namespace hopskip::cuda

namespace hopskip {

std::vector<AttentionCandidate> attention_candidates(const AttentionConfig& config) {
  std::string invalid;
  try {
    cuda::validate(config);
  } catch (const Error& error) {
    invalid = error.what();
  }
  const cuda::Gpu gpu = cuda::find_gpu(config.device);
  std::vector<AttentionCandidate> candidates;
  for (const cuda::AttentionKernel* kernel : cuda::attention_kernels()) {
    if (kernel->phase == config.phase) {
      candidates.push_back({std::string(kernel->name),
                            invalid.empty() ? cuda::why_not(*kernel, config, gpu) : invalid});
    }
  }
  return candidates;
}

}  // namespace hopskip
