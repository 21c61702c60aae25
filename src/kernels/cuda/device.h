// CUDA's runtime as the host side needs it: errors, the current device, memory.
#ifndef HOPSKIP_KERNELS_CUDA_DEVICE_H_
#define HOPSKIP_KERNELS_CUDA_DEVICE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

// Throws OutOfMemory or Device with CUDA's own words: "cannot <what>: …".
void check_cuda(cudaError_t error, const char* what);

// Why CUDA finds no GPU, with the way out. Versions as CUDA numbers them, 1000 · major + 10 ·
// minor; driver_version: the newest CUDA that the driver supports, 0 where there is no driver.
std::string why_no_gpu(cudaError_t error, int driver_version, int runtime_version);
// "13.0", of a version as CUDA numbers it.
std::string cuda_version_text(int version);
// The newest CUDA that the driver here supports; 0: there is no driver.
int driver_version();

// "1.5 GiB", "300.0 MiB".
std::string size_text(int64_t bytes);
// "the weights need 15.0 GiB of GPU memory, and cuda:0 has 3.2 GiB free of 79.1 GiB; <way_out>".
std::string no_room_text(std::string_view what, int64_t bytes, int device, int64_t free,
                         int64_t total, std::string_view way_out);

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

// On the current device. Throw OutOfMemory naming `what`, the size, what is free and the way out.
DeviceMemory allocate_device(size_t bytes, const char* what, const char* way_out = "");
PinnedMemory allocate_pinned(size_t bytes, const char* what);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_DEVICE_H_
