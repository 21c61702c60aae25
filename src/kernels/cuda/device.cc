#include "kernels/cuda/device.h"

#include "base/check.h"

namespace hopskip::cuda {
namespace {

void check_allocation(cudaError_t error, size_t bytes, const char* what, const char* where) {
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::kOutOfMemory, "{} needs {} bytes of {}, which has no room for it", what, bytes,
         where);
  }
  check_cuda(error, "allocate memory");
}

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, name, device), "read the attributes of a GPU");
  return value;
}

}  // namespace

void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) [[unlikely]] {
    cudaGetLastError();  // or the next call that asks would report it again
    fail(error == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDevice,
         "cannot {}: {}", what, cudaGetErrorString(error));
  }
}

GpuCount count_gpus() {
  GpuCount gpus;
  const cudaError_t error = cudaGetDeviceCount(&gpus.count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    int driver = 0;
    if (error == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess &&
        driver == 0) {
      return {0, "no NVIDIA driver is installed"};  // CUDA calls that too old, too
    }
    return {0, cudaGetErrorString(error)};
  }
  if (gpus.count == 0) {
    gpus.why_none = "CUDA lists none";
  }
  return gpus;
}

GpuProperties gpu_properties(int device) {
  return {10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
              attribute(cudaDevAttrComputeCapabilityMinor, device),
          attribute(cudaDevAttrMultiProcessorCount, device),
          attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device)};
}

bool launches_overlap() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "ask for the current GPU");
  return attribute(cudaDevAttrComputeCapabilityMajor, device) >= 9;
}

DeviceScope::DeviceScope(int device) {
  int current = 0;
  check_cuda(cudaGetDevice(&current), "ask for the current GPU");
  if (current != device) {
    check_cuda(cudaSetDevice(device), "make a GPU current");
    previous_ = current;
  }
}

DeviceScope::~DeviceScope() {
  if (previous_ >= 0) {
    cudaSetDevice(previous_);
  }
}

DeviceMemory allocate_device(size_t bytes, const char* what) {
  void* pointer = nullptr;
  check_allocation(cudaMalloc(&pointer, bytes), bytes, what, "GPU memory");
  return DeviceMemory(static_cast<std::byte*>(pointer));
}

PinnedMemory allocate_pinned(size_t bytes, const char* what) {
  void* pointer = nullptr;
  check_allocation(cudaMallocHost(&pointer, bytes), bytes, what, "pinned host memory");
  return PinnedMemory(static_cast<std::byte*>(pointer));
}

}  // namespace hopskip::cuda

namespace hopskip {

std::vector<GpuInfo> list_gpus() {
  std::vector<GpuInfo> gpus;
  const int count = cuda::count_gpus().count;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
      cudaGetLastError();
      continue;
    }
    gpus.push_back({device, properties.name, 10 * properties.major + properties.minor,
                    static_cast<int64_t>(properties.totalGlobalMem),
                    properties.multiProcessorCount});
  }
  return gpus;
}

}  // namespace hopskip
