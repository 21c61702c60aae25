// CUDA's runtime as the host side needs it: errors, the current device, memory.
#ifndef HOPSKIP_KERNELS_CUDA_DEVICE_H_
#define HOPSKIP_KERNELS_CUDA_DEVICE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

// Throws OutOfMemory or Device with CUDA's own words: "cannot <what>: …".
void check_cuda(cudaError_t error, const char* what);

// GPUs that CUDA finds; 0 with the reason where it finds none.
struct GpuCount {
  int count = 0;
  std::string why_none;
};
GpuCount count_gpus();

// `device` < count_gpus().count. Throws Device.
GpuProperties gpu_properties(int device);

// Whether the current device can start a kernel before the last one of a stream has ended.
bool launches_overlap();

// Makes a device current for a scope.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = -1;  // to be restored; −1: it was current
};

struct FreeDevice {
  void operator()(std::byte* pointer) const { cudaFree(pointer); }
};
struct FreePinned {
  void operator()(std::byte* pointer) const { cudaFreeHost(pointer); }
};
using DeviceMemory = std::unique_ptr<std::byte, FreeDevice>;
using PinnedMemory = std::unique_ptr<std::byte, FreePinned>;

// On the current device. Throw OutOfMemory naming `what` and the size.
DeviceMemory allocate_device(size_t bytes, const char* what);
PinnedMemory allocate_pinned(size_t bytes, const char* what);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_DEVICE_H_
