// The row `cuda` of the table in backends.cc.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_ENTRY_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_ENTRY_H_

#include <memory>
#include <string>

#include "kernels/backend.h"

namespace hopskip {

// As BackendEntry's functions of the same names.
std::string why_no_cuda_backend(const BackendOptions& options);
std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_ENTRY_H_
