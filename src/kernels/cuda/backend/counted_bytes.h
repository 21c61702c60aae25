// How much of the device's memory is in use for what.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_COUNTED_BYTES_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_COUNTED_BYTES_H_

#include <cstdint>
#include <memory>
#include <utility>

namespace hopskip::cuda {

// A sum that outlives the backend if what is counted does. One thread at a time, as everything of a
// backend.
using ByteCount = std::shared_ptr<int64_t>;

// Counts `bytes` for as long as it lives.
class CountedBytes {
 public:
  CountedBytes() = default;
  CountedBytes(ByteCount sum, int64_t bytes) : sum_(std::move(sum)), bytes_(bytes) {
    *sum_ += bytes_;
  }
  CountedBytes(CountedBytes&& other) noexcept
      : sum_(std::move(other.sum_)), bytes_(std::exchange(other.bytes_, 0)) {}
  CountedBytes& operator=(CountedBytes&& other) noexcept {
    std::swap(sum_, other.sum_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~CountedBytes() {
    if (sum_ != nullptr) {
      *sum_ -= bytes_;
    }
  }

 private:
  ByteCount sum_;
  int64_t bytes_ = 0;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_COUNTED_BYTES_H_
