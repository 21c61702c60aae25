// The GPU's paged KV cache: [num_layers][K, V][num_pages][page_size][num_kv_heads][head_dim], BF16
// or FP8 E4M3.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_KV_STORAGE_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_KV_STORAGE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/backend/counted_bytes.h"
#include "kernels/cuda/device.h"

namespace hopskip::cuda {

// Pages that an FP8 storage keeps in BF16 beside its own, for one layer at a time: what prefill
// attention reads. Enough for the longest sequence. 0 for BF16.
int64_t scratch_pages(const KvConfig& config);

// Of `free` bytes those that pages may take where the scratch takes its share; config.num_pages is
// not looked at.
int64_t bytes_for_pages(const KvConfig& config, int64_t free);

class CudaKvStorage final : public KvStorage {
 public:
  // On the current device, zeroed. Throws OutOfMemory.
  CudaKvStorage(const KvConfig& config, cudaStream_t stream, ByteCount in_use);

  // [num_pages][page_size][num_kv_heads][head_dim] of one layer.
  void* keys(int layer) const { return pool(2 * int64_t{layer}); }
  void* values(int layer) const { return pool(2 * int64_t{layer} + 1); }
  // FP8: [scratch_pages(config())][page_size][num_kv_heads][head_dim] BF16. Steps and layers take
  // turns, in the order of the stream.
  std::byte* scratch_keys() const { return scratch_.get(); }
  std::byte* scratch_values() const { return scratch_.get() + scratch_bytes_; }
  int64_t page_elements() const {
    return int64_t{config().page_size} * config().num_kv_heads * config().head_dim;
  }
  // Differs between all storages of a process.
  uint64_t id() const { return id_; }

 private:
  void* pool(int64_t index) const { return memory_.get() + index * pool_bytes_; }

  uint64_t id_;
  int64_t pool_bytes_;     // of one layer's K or V
  int64_t scratch_bytes_;  // of K or V
  DeviceMemory memory_, scratch_;
  CountedBytes bytes_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_KV_STORAGE_H_
