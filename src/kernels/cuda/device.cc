#include "kernels/cuda/device.h"

#include "base/check.h"

namespace hopskip::cuda {
namespace {

constexpr const char* kOtherUses =
    "end what else uses this GPU (nvidia-smi lists it), or take another device (cuda:N, cpu)";

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

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

int driver_version() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return version;
}

std::string why_no_gpu(cudaError_t error, int driver_version, int runtime_version) {
  // CUDA calls a driver that is missing too old, and one that does not load unknown.
  if (driver_version == 0) {
    return "no NVIDIA driver is installed";
  }
  switch (error) {
    case cudaErrorInsufficientDriver:
      return fmt::format(
          "the NVIDIA driver supports CUDA {}, and this program is built with CUDA {}: install a "
          "driver for CUDA {}.0 or later",
          cuda_version_text(driver_version), cuda_version_text(runtime_version),
          runtime_version / 1000);
    case cudaErrorNoDevice:
      return "the NVIDIA driver shows no GPU: compare 'nvidia-smi -L', CUDA_VISIBLE_DEVICES and "
             "the "
             "devices of the container";
    case cudaErrorSystemDriverMismatch:
      return "the NVIDIA driver's library and its kernel module are of different versions: restart "
             "the machine or the container after an update";
    case cudaErrorSystemNotReady:
      return "the GPUs are not ready: start nvidia-fabricmanager";
    default:
      return fmt::format("CUDA does not start: {}", cudaGetErrorString(error));
  }
}

std::string size_text(int64_t bytes) {
  constexpr double kMiB = 1024.0 * 1024.0;
  const double mib = static_cast<double>(bytes) / kMiB;
  return mib < 1024.0 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.1f} GiB", mib / 1024.0);
}

std::string no_room_text(std::string_view what, int64_t bytes, int device, int64_t free,
                         int64_t total, std::string_view way_out) {
  return fmt::format("{} need{} {} of GPU memory, and cuda:{} has {} free of {}; {}{}{}", what,
                     what.ends_with("s") ? "" : "s", size_text(bytes), device, size_text(free),
                     size_text(total), way_out, way_out.empty() ? "" : ", or ", kOtherUses);
}

GpuCount count_gpus() {
  GpuCount gpus;
  const cudaError_t error = cudaGetDeviceCount(&gpus.count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return {0, why_no_gpu(error, driver_version(), CUDART_VERSION)};
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

DeviceMemory allocate_device(size_t bytes, const char* what, const char* way_out) {
  void* pointer = nullptr;
  const cudaError_t error = cudaMalloc(&pointer, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    int device = 0;
    size_t free = 0;
    size_t total = 0;
    check_cuda(cudaGetDevice(&device), "ask for the current GPU");
    check_cuda(cudaMemGetInfo(&free, &total), "ask for free memory");
    fail(ErrorCode::kOutOfMemory, "{}",
         no_room_text(what, static_cast<int64_t>(bytes), device, static_cast<int64_t>(free),
                      static_cast<int64_t>(total), way_out));
  }
  check_cuda(error, "allocate memory");
  return DeviceMemory(static_cast<std::byte*>(pointer));
}

PinnedMemory allocate_pinned(size_t bytes, const char* what) {
  void* pointer = nullptr;
  const cudaError_t error = cudaMallocHost(&pointer, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::kOutOfMemory,
         "no {} of pinned host memory for {}: the machine has no room, or the limit of locked "
         "memory (ulimit -l) is lower",
         size_text(static_cast<int64_t>(bytes)), what);
  }
  check_cuda(error, "allocate memory");
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
