#include <array>
#include <charconv>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/simd/level.h"
#include "kernels/cuda/backend/entry.h"
#include "kernels/reference/reference_backend.h"

namespace hopskip {
namespace {

std::string simd_missing(const BackendOptions& options) {
  try {
    parse_simd_level(options.simd);
    return "";
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) {
      throw;  // no such name: wrong on every machine
    }
    return error.what();
  }
}

// The reference has no instruction sets: taking it would ignore the setting.
std::string simd_given(const BackendOptions& options) {
  return options.simd.empty() ? ""
                              : fmt::format("instruction set '{}' is for the cpu", options.simd);
}

template <typename T>
std::unique_ptr<Backend> make(const BackendOptions& options) {
  return std::make_unique<T>(options);
}

constexpr std::string_view kCudaPrefix = "cuda:";

// "cuda:N" is the backend "cuda" with options.device = N.
std::string_view split_device(std::string_view name, BackendOptions& options) {
  if (!name.starts_with(kCudaPrefix)) {
    return name;
  }
  const std::string_view number = name.substr(kCudaPrefix.size());
  const char* end = number.data() + number.size();
  const auto [rest, error] = std::from_chars(number.data(), end, options.device);
  check(error == std::errc() && rest == end && options.device >= 0, ErrorCode::kInvalidArgument,
        "device '{}' is not cuda:N with the number of a CUDA device", name);
  return name.substr(0, kCudaPrefix.size() - 1);
}

constexpr std::array kBackends{
    BackendEntry{"cuda", "NVIDIA GPUs from compute capability 8.0 on, in BF16", why_no_cuda_backend,
                 make_cuda_backend},
    BackendEntry{"cpu", "AVX-512, AVX2 or portable loops, by what the processor has", simd_missing,
                 make<CpuBackend>},
    BackendEntry{"reference", "scalar fp64, for tests", simd_given, make<ReferenceBackend>},
};

}  // namespace

std::span<const BackendEntry> backends() { return kBackends; }

std::unique_ptr<Backend> make_backend(std::string_view device, const BackendOptions& given) {
  BackendOptions options = given;
  const std::string_view name = split_device(device, options);
  std::string reasons;
  for (const BackendEntry& entry : kBackends) {
    if (name != "auto" && name != entry.name) {
      continue;
    }
    const std::string reason = entry.why_not(options);
    if (reason.empty()) {
      return entry.make(options);
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", entry.name, reason);
  }
  if (reasons.empty()) {
    for (const BackendEntry& entry : kBackends) {
      reasons += fmt::format(", {}", entry.name);
    }
    fail(ErrorCode::kInvalidArgument, "no device '{}' (there are: auto{}, cuda:N)", device,
         reasons);
  }
  fail(ErrorCode::kUnsupported, "device '{}' does not run here ({}){}", device, reasons,
       name == "cuda" ? "; the device 'cpu' runs everywhere" : "");
}

}  // namespace hopskip
