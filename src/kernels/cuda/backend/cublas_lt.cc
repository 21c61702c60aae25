#include "kernels/cuda/backend/cublas_lt.h"

#include <dlfcn.h>

#include "base/check.h"
#include "kernels/cuda/device.h"

namespace hopskip::cuda {
namespace {

constexpr const char* kFile = "libcublasLt.so.13";

struct Opened {
  CublasLt functions{};
  std::string why_not;

  Opened() {
    void* library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      why_not = fmt::format(
          "{} of CUDA 13 is not found ({}); install cuBLAS, or add its folder to LD_LIBRARY_PATH",
          kFile, dlerror());
      return;
    }
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr && why_not.empty()) {
        why_not = fmt::format("{} has no {}; install the cuBLAS of CUDA 13", kFile, name);
      }
    };
#define HOPSKIP_FIND(name) find(functions.name, "cublasLt" #name)
    HOPSKIP_FIND(Create);
    HOPSKIP_FIND(Destroy);
    HOPSKIP_FIND(GetStatusString);
    HOPSKIP_FIND(GetVersion);
    HOPSKIP_FIND(Matmul);
    HOPSKIP_FIND(MatmulAlgoGetHeuristic);
    HOPSKIP_FIND(MatmulDescCreate);
    HOPSKIP_FIND(MatmulDescDestroy);
    HOPSKIP_FIND(MatmulDescSetAttribute);
    HOPSKIP_FIND(MatmulPreferenceCreate);
    HOPSKIP_FIND(MatmulPreferenceDestroy);
    HOPSKIP_FIND(MatmulPreferenceSetAttribute);
    HOPSKIP_FIND(MatrixLayoutCreate);
    HOPSKIP_FIND(MatrixLayoutDestroy);
#undef HOPSKIP_FIND
  }
};

const Opened& opened() {
  static const Opened opened;
  return opened;
}

}  // namespace

const CublasLt& cublas_lt() {
  check(opened().why_not.empty(), ErrorCode::kUnsupported, "{}", opened().why_not);
  return opened().functions;
}

std::string why_no_cublas_lt() { return opened().why_not; }

std::string cublas_lt_name(size_t version) {
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string cublas_lt_name() {
  return opened().why_not.empty() ? cublas_lt_name(opened().functions.GetVersion()) : "";
}

std::string cublas_start_failure(std::string_view status, size_t version, int driver_version) {
  const auto major = static_cast<int>(version / 10000);
  if (driver_version / 1000 < major) {
    return fmt::format(
        "{} does not start ({}): it needs a driver for CUDA {}, and the one here supports CUDA {}; "
        "install a newer driver",
        cublas_lt_name(version), status, major, cuda_version_text(driver_version));
  }
  return fmt::format(
      "{} does not start ({}): free some GPU memory, or install the cuBLAS that belongs to CUDA {} "
      "(libcublas and libcublasLt of one version)",
      cublas_lt_name(version), status, cuda_version_text(driver_version));
}

void check_cublas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]] {
    fail(ErrorCode::kDevice, "cuBLASLt cannot {}: {}", what, cublas_lt().GetStatusString(status));
  }
}

}  // namespace hopskip::cuda
