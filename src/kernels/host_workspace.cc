#include "kernels/host_workspace.h"

#include <algorithm>

#include "base/check.h"
#include "base/host_memory.h"

namespace hopskip {
namespace {

constexpr size_t kPage = size_t{2} << 20;
constexpr size_t kAlignment = 64;

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

Matrix HostWorkspace::allocate(int64_t rows, int64_t cols) {
  check(rows >= 0 && cols >= 0, ErrorCode::kInvalidArgument, "a matrix of {} x {}", rows, cols);
  size_t elements = 0;
  check(!__builtin_mul_overflow(static_cast<size_t>(rows), static_cast<size_t>(cols), &elements) &&
            elements <= (SIZE_MAX >> 3),
        ErrorCode::kOutOfMemory, "a matrix of {} x {} does not fit in memory", rows, cols);
  const size_t bytes = round_up(elements * sizeof(float), kAlignment);
  if (chunks_.empty() || chunks_.back().bytes - used_ < bytes) {
    const size_t size = round_up(std::max(bytes, capacity() / 2), kPage);
    const auto spare = static_cast<size_t>(spare_memory());
    check(size <= spare, ErrorCode::kOutOfMemory,
          "a step needs {:.1f} GB more of memory, and this machine has {:.1f} GB to give; let it "
          "take fewer tokens (chunk_tokens)",
          1e-9 * static_cast<double>(size), 1e-9 * static_cast<double>(spare));
    chunks_.push_back({allocate_huge(size), size});
    used_ = 0;
  }
  float* data = reinterpret_cast<float*>(chunks_.back().data.get() + used_);
  used_ += bytes;
  return {data, rows, cols, cols};
}

void HostWorkspace::reset() {
  if (chunks_.size() > 1) {
    const size_t total = capacity();
    chunks_.clear();
    chunks_.push_back({allocate_huge(total), total});
  }
  used_ = 0;
}

size_t HostWorkspace::capacity() const {
  size_t total = 0;
  for (const Chunk& chunk : chunks_) {
    total += chunk.bytes;
  }
  return total;
}

}  // namespace hopskip
