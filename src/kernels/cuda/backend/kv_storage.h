// The GPU's paged KV cache: [num_layers][K, V][num_pages][page_size][num_kv_heads][head_dim], BF16.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_KV_STORAGE_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_KV_STORAGE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/backend/counted_bytes.h"
#include "kernels/cuda/device.h"

namespace hopskip::cuda {

class CudaKvStorage final : public KvStorage {
 public:
  // On the current device, zeroed. Throws OutOfMemory.
  CudaKvStorage(const KvConfig& config, cudaStream_t stream, ByteCount in_use);

  // [num_pages][page_size][num_kv_heads][head_dim] of one layer.
  void* keys(int layer) const { return pool(2 * int64_t{layer}); }
  void* values(int layer) const { return pool(2 * int64_t{layer} + 1); }
  // Differs between all storages of a process.
  uint64_t id() const { return id_; }

 private:
  void* pool(int64_t index) const { return memory_.get() + index * pool_bytes_; }

  uint64_t id_;
  int64_t pool_bytes_;  // of one layer's K or V
  DeviceMemory memory_;
  CountedBytes bytes_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_KV_STORAGE_H_
