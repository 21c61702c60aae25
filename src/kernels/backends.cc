#include <array>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/simd/level.h"
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

constexpr std::array kBackends{
    BackendEntry{"cpu", "AVX-512, AVX2 or portable loops, by what the processor has", simd_missing,
                 make<CpuBackend>},
    BackendEntry{"reference", "scalar fp64, for tests", simd_given, make<ReferenceBackend>},
};

}  // namespace

std::span<const BackendEntry> backends() { return kBackends; }

std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options) {
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
      reasons += fmt::format("{}{}", reasons.empty() ? "there are: auto, " : ", ", entry.name);
    }
  }
  fail(ErrorCode::kUnsupported, "no backend '{}' runs here ({})", name, reasons);
}

}  // namespace hopskip
