// The row `cuda` of the table in backends.cc.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_ENTRY_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_ENTRY_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"

namespace hopskip {

// As BackendEntry's functions of the same names.
std::string why_no_cuda_backend(const BackendOptions& options);
std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options);

// What the backend runs a model with on a device, and what it does not run: (part, text), for
// people. Nothing in a build without it.
std::vector<std::pair<std::string, std::string>> cuda_backend_parts(int device);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_ENTRY_H_
