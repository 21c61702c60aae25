#include "kernels/host_workspace.h"

#include <algorithm>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr size_t kSmallestChunk = size_t{1} << 20;

size_t aligned(size_t bytes) {
  return (bytes + Buffer::kAlignment - 1) / Buffer::kAlignment * Buffer::kAlignment;
}

}  // namespace

Matrix HostWorkspace::allocate(int64_t rows, int64_t cols) {
  check(rows >= 0 && cols >= 0, ErrorCode::kInvalidArgument, "a matrix of {} x {}", rows, cols);
  size_t elements = 0;
  check(!__builtin_mul_overflow(static_cast<size_t>(rows), static_cast<size_t>(cols), &elements) &&
            elements <= (SIZE_MAX >> 3),
        ErrorCode::kOutOfMemory, "a matrix of {} x {} does not fit in memory", rows, cols);
  const size_t bytes = aligned(elements * sizeof(float));
  if (chunks_.empty() || chunks_.back().bytes() - used_ < bytes) {
    chunks_.emplace_back(std::max({bytes, kSmallestChunk, capacity() / 2}));
    used_ = 0;
  }
  float* data = reinterpret_cast<float*>(chunks_.back().as<std::byte>() + used_);
  used_ += bytes;
  return {data, rows, cols, cols};
}

void HostWorkspace::reset() {
  if (chunks_.size() > 1) {
    const size_t total = capacity();
    chunks_.clear();
    chunks_.emplace_back(total);
  }
  used_ = 0;
}

size_t HostWorkspace::capacity() const {
  size_t total = 0;
  for (const Buffer& chunk : chunks_) {
    total += aligned(chunk.bytes());
  }
  return total;
}

}  // namespace hopskip
