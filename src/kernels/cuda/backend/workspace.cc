#include "kernels/cuda/backend/workspace.h"

#include <algorithm>

#include "base/check.h"

namespace hopskip::cuda {
namespace {

constexpr size_t kChunkUnit = size_t{2} << 20;
constexpr size_t kSmallestChunk = size_t{32} << 20;
constexpr size_t kAlignment = 256;  // what cuBLASLt likes best

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

Matrix Workspace::allocate(int64_t rows, int64_t cols, DType dtype) {
  check(rows >= 0 && cols >= 0, ErrorCode::kInvalidArgument, "a matrix of {} x {}", rows, cols);
  size_t elements = 0;
  check(!__builtin_mul_overflow(static_cast<size_t>(rows), static_cast<size_t>(cols), &elements) &&
            elements <= (SIZE_MAX >> 4),
        ErrorCode::kOutOfMemory, "a matrix of {} x {} does not fit in memory", rows, cols);
  const size_t bytes = round_up(elements * block_bytes(dtype), kAlignment);
  if (chunks_.empty() || chunks_.back().bytes - used_ < bytes) {
    try {
      add_chunk(std::max({bytes, capacity() / 2, kSmallestChunk}));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kOutOfMemory) {
        throw;
      }
      add_chunk(bytes);  // there is no room for what may come
    }
  }
  std::byte* data = chunks_.back().data.get() + used_;
  used_ += bytes;
  return {data, rows, cols, cols, dtype};
}

bool Workspace::reset() {
  used_ = 0;
  if (chunks_.size() <= 1) {
    return false;
  }
  const size_t total = capacity();
  chunks_.clear();
  add_chunk(total);
  return true;
}

void Workspace::add_chunk(size_t bytes) {
  const size_t size = round_up(bytes, kChunkUnit);
  chunks_.push_back({allocate_device(size, "a step's workspace",
                                     "let a step take fewer tokens (chunk_tokens), the KV cache "
                                     "hold fewer (kv_tokens)"),
                     size});
  used_ = 0;
}

size_t Workspace::capacity() const {
  size_t total = 0;
  for (const Chunk& chunk : chunks_) {
    total += chunk.bytes;
  }
  return total;
}

}  // namespace hopskip::cuda
