#include "kernels/cpu/kv_storage.h"

#include <sys/mman.h>

#include "base/check.h"

namespace hopskip {

CpuKvStorage::CpuKvStorage(const KvConfig& config) : KvStorage(config) {
  const auto bytes = static_cast<size_t>(config.num_pages * config.bytes_per_page());
  if (bytes == 0) {
    return;
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(data != MAP_FAILED, ErrorCode::kOutOfMemory,
        "no memory for a KV cache of {} bytes; use fewer pages", bytes);
  madvise(data, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(data);
  bytes_ = bytes;
}

CpuKvStorage::~CpuKvStorage() {
  if (data_ != nullptr) {
    munmap(data_, bytes_);
  }
}

KvHead CpuKvStorage::head(int layer, int kv_head, const int32_t* pages) const {
  KvHead head;
  head.slice_bytes = int64_t{kSliceKeys} * config().head_dim * block_bytes(config().dtype);
  head.slices_per_page = config().page_size / kSliceKeys;
  head.page_bytes = head.slices_per_page * head.slice_bytes;
  const int64_t pool_bytes = config().num_pages * head.page_bytes;
  head.k = data_ + (int64_t{2} * layer * config().num_kv_heads + kv_head) * pool_bytes;
  head.v = head.k + config().num_kv_heads * pool_bytes;
  head.pages = pages;
  return head;
}

}  // namespace hopskip
