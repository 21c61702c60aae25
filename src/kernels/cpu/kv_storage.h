// The CPU's paged KV cache: [layer][K, V][kv_head][page] of slices (attention_kernels.h), so that a
// head's K is one stream.
#ifndef HOPSKIP_KERNELS_CPU_KV_STORAGE_H_
#define HOPSKIP_KERNELS_CPU_KV_STORAGE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/simd/attention_kernels.h"

namespace hopskip {

// Memory comes zeroed, in huge pages where the system grants them, and becomes resident as it is
// first written.
class CpuKvStorage final : public KvStorage {
 public:
  // Throws OutOfMemory.
  explicit CpuKvStorage(const KvConfig& config);
  ~CpuKvStorage() override;
  CpuKvStorage(const CpuKvStorage&) = delete;
  CpuKvStorage& operator=(const CpuKvStorage&) = delete;

  KvHead head(int layer, int kv_head, const int32_t* pages) const;

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_KV_STORAGE_H_
