#include "kernels/cuda/backend/kv_storage.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace hopskip::cuda {
namespace {

int64_t scratch_bytes_per_page(const KvConfig& config) {
  return int64_t{2} * config.num_kv_heads * config.head_dim * config.page_size *
         block_bytes(DType::kBF16);
}

int64_t context_pages(const KvConfig& config) {
  return (config.context - 1) / config.page_size + 1;
}

DeviceMemory allocate_zeroed(int64_t bytes, const char* what, cudaStream_t stream) {
  if (bytes == 0) {
    return nullptr;
  }
  DeviceMemory memory = allocate_device(bytes, what, "let it hold fewer tokens (kv_tokens)");
  check_cuda(cudaMemsetAsync(memory.get(), 0, bytes, stream), "clear the KV cache");
  return memory;
}

}  // namespace

int64_t scratch_pages(const KvConfig& config) {
  if (config.dtype != DType::kF8E4M3) {
    return 0;
  }
  return config.context == 0 ? config.num_pages : std::min(config.num_pages, context_pages(config));
}

int64_t bytes_for_pages(const KvConfig& config, int64_t free) {
  if (config.dtype != DType::kF8E4M3) {
    return free;
  }
  // So few pages that one sequence can have them all: each has one in the scratch.
  const int64_t paired =
      free / (config.bytes_per_page() + scratch_bytes_per_page(config)) * config.bytes_per_page();
  if (config.context == 0) {
    return paired;
  }
  return std::max(paired, free - context_pages(config) * scratch_bytes_per_page(config));
}

CudaKvStorage::CudaKvStorage(const KvConfig& config, cudaStream_t stream, ByteCount in_use)
    : KvStorage(config) {
  static std::atomic<uint64_t> next_id{1};
  id_ = next_id++;
  const int64_t bytes = config.num_pages * config.bytes_per_page();
  pool_bytes_ = bytes / (2 * config.num_layers);
  memory_ = allocate_zeroed(bytes, "the KV cache", stream);
  const int64_t scratch_bytes = scratch_pages(config) * scratch_bytes_per_page(config);
  scratch_bytes_ = scratch_bytes / 2;
  scratch_ = allocate_zeroed(scratch_bytes, "the KV cache's scratch for prefill", stream);
  if (bytes + scratch_bytes > 0) {
    bytes_ = CountedBytes(std::move(in_use), bytes + scratch_bytes);
  }
}

}  // namespace hopskip::cuda
