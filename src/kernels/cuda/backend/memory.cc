// What the CUDA backend says of its GPU's memory, and of what may be kept there.
#include <algorithm>

#include "base/check.h"
#include "kernels/contract.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/backend/kv_storage.h"
#include "kernels/cuda/backend/weights.h"
#include "kernels/cuda/config_check.h"
#include "kernels/cuda/select.h"

namespace hopskip::cuda {
namespace {

// Memory that the KV cache leaves for what grows later: graphs, attention's partial results, CUDA
// itself. Of a small GPU a sixteenth.
constexpr int64_t kMemoryReserve = int64_t{1} << 30;
constexpr int64_t kReserveDivisor = 16;

}  // namespace

void CudaBackend::check_fits(std::span<const TensorView> weights) const {
  const DeviceScope scope(device_);
  size_t free = 0;
  size_t total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "ask for free memory");
  const int64_t needed = bytes_on_device(weights);
  check(needed <= static_cast<int64_t>(free), ErrorCode::kOutOfMemory, "{}",
        no_room_text("the weights", needed, device_, static_cast<int64_t>(free),
                     static_cast<int64_t>(total), "take a smaller model"));
}

void CudaBackend::check_kv(const KvConfig& config) const {
  check_kv_config(config);
  check(config.dtype == DType::kBF16 || config.dtype == DType::kF8E4M3, ErrorCode::kUnsupported,
        "a KV cache in {} on a GPU: bf16 and fp8 are possible", dtype_name(config.dtype));
  AttentionShape shape;
  shape.num_heads = shape.num_kv_heads = config.num_kv_heads;
  shape.head_dim = config.head_dim;
  for (Phase phase : kPhases) {
    const AttentionConfig wanted =
        attention_config(shape, config.dtype, config.page_size, phase, device_);
    validate(wanted);
    select_kernel(wanted);
  }
}

int64_t CudaBackend::memory_for_kv(const KvConfig& config) const {
  const DeviceScope scope(device_);
  size_t free = 0;
  size_t total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "ask for free memory");
  const int64_t reserve = std::min(kMemoryReserve, static_cast<int64_t>(total) / kReserveDivisor);
  return std::max<int64_t>(1, bytes_for_pages(config, static_cast<int64_t>(free) - reserve));
}

std::optional<MemoryUse> CudaBackend::memory_use() const {
  const DeviceScope scope(device_);
  size_t free = 0;
  size_t total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "ask for free memory");
  MemoryUse use{.weights = own_->loader.bytes_in_use(), .kv_cache = *own_->kv_bytes};
  use.rest = static_cast<int64_t>(total - free) - use.weights - use.kv_cache;
  return use;
}

}  // namespace hopskip::cuda
