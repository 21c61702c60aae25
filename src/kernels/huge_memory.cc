#include "kernels/huge_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr size_t kPage = size_t{2} << 20;
constexpr size_t kChunk = 8 * kPage;
constexpr size_t kAlignment = 64;

size_t round_up(size_t bytes, size_t unit) {
  check(bytes <= SIZE_MAX - unit, ErrorCode::kOutOfMemory, "{} bytes do not fit in memory", bytes);
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

SharedBytes allocate_huge(size_t bytes) {
  const size_t size = std::max(round_up(bytes, kPage), kPage);
  void* data = std::aligned_alloc(kPage, size);
  check(data != nullptr, ErrorCode::kOutOfMemory, "cannot allocate {} bytes", bytes);
  madvise(data, size, MADV_HUGEPAGE);  // where it fails, small pages remain
  return SharedBytes(static_cast<std::byte*>(data), std::free);
}

SharedBytes HugeArena::allocate(size_t bytes) {
  const size_t size = round_up(bytes, kAlignment);
  if (chunk_ == nullptr || size_ - used_ < size) {
    size_ = std::max(round_up(size, kPage), kChunk);
    chunk_ = allocate_huge(size_);
    used_ = 0;
  }
  std::byte* data = chunk_.get() + used_;
  used_ += size;
  return SharedBytes(chunk_, data);
}

}  // namespace hopskip
