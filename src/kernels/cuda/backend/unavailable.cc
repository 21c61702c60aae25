// The row `cuda` in a build without its backend.
#include "base/check.h"
#include "kernels/cuda/backend/entry.h"

namespace hopskip {

std::string why_no_cuda_backend(const BackendOptions& /*options*/) {
  return "this build has no CUDA backend: " HOPSKIP_WHY_NO_CUDA_BACKEND;
}

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options) {
  fail(ErrorCode::kUnsupported, "{}", why_no_cuda_backend(options));
}

std::vector<std::pair<std::string, std::string>> cuda_backend_parts(int /*device*/) { return {}; }

}  // namespace hopskip
