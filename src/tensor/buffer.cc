#include "tensor/buffer.h"

#include <cstdlib>

#include "base/check.h"

namespace hopskip {

Buffer::Buffer(size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (rounded < bytes) {
    fail(ErrorCode::kOutOfMemory, "a buffer of {} bytes does not fit in memory", bytes);
  }
  if (rounded == 0) {
    return;
  }
  data_.reset(std::aligned_alloc(kAlignment, rounded));
  check(data_ != nullptr, ErrorCode::kOutOfMemory, "cannot allocate {} bytes", bytes);
  bytes_ = bytes;
}

void Buffer::Free::operator()(void* data) const { std::free(data); }

}  // namespace hopskip
