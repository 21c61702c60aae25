#include "kernels/cuda/backend/kv_storage.h"

#include <atomic>

namespace hopskip::cuda {

CudaKvStorage::CudaKvStorage(const KvConfig& config, cudaStream_t stream) : KvStorage(config) {
  static std::atomic<uint64_t> next_id{1};
  id_ = next_id++;
  const int64_t bytes = config.num_pages * config.bytes_per_page();
  pool_bytes_ = bytes / (2 * config.num_layers);
  if (bytes > 0) {
    memory_ = allocate_device(bytes, "the KV cache", "let it hold fewer tokens (kv_tokens)");
    check_cuda(cudaMemsetAsync(memory_.get(), 0, bytes, stream), "clear the KV cache");
  }
}

}  // namespace hopskip::cuda
