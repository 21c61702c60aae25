// Owned, aligned host memory.
#ifndef HOPSKIP_TENSOR_BUFFER_H_
#define HOPSKIP_TENSOR_BUFFER_H_

#include <cstddef>
#include <memory>
#include <utility>

namespace hopskip {

// 64-byte aligned and uninitialised; moves, does not copy. Throws OutOfMemory.
class Buffer {
 public:
  static constexpr size_t kAlignment = 64;

  Buffer() = default;
  explicit Buffer(size_t bytes);

  size_t bytes() const { return bytes_; }
  void* data() { return data_.get(); }
  const void* data() const { return data_.get(); }
  template <typename T>
  T* as() {
    return static_cast<T*>(data());
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data());
  }
  // Grows to at least `bytes`; the contents are lost when it grows.
  void reserve(size_t bytes) {
    if (bytes > bytes_) {
      *this = Buffer(bytes);
    }
  }

 private:
  struct Free {
    void operator()(void* data) const;
  };
  std::unique_ptr<void, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_BUFFER_H_
