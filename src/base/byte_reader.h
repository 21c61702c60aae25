// Reading foreign bytes: little-endian, never beyond the end, with 64-bit arithmetic that is
// checked.
#ifndef HOPSKIP_BASE_BYTE_READER_H_
#define HOPSKIP_BASE_BYTE_READER_H_

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/check.h"

namespace hopskip {

// False when the exact result does not fit; *result is then unspecified.
inline bool checked_multiply(uint64_t a, uint64_t b, uint64_t* result) {
  return !__builtin_mul_overflow(a, b, result);
}

// A cursor over bytes that somebody else owns. Every error is Corrupt and names `where` and the
// offset at which the bytes ran out or made no sense.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }
  const std::string& where() const { return where_; }

  template <typename T>
  requires std::is_arithmetic_v<T> T read() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  // The next `count` bytes, not copied.
  std::span<const std::byte> take(uint64_t count) {
    if (count > remaining()) [[unlikely]] {
      corrupt("{} bytes wanted, {} left", count, remaining());
    }
    const std::span<const std::byte> bytes = bytes_.subspan(offset_, count);
    offset_ += count;
    return bytes;
  }
  std::string_view take_text(uint64_t count) {
    const std::span<const std::byte> bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // Throws Corrupt with `where`, the current offset and the formatted message.
  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(ErrorCode::kCorrupt,
                fmt::format(format, std::forward<Args>(args)...) +
                    fmt::format(" (at byte {} of {})", offset_, bytes_.size()),
                where_);
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t offset_ = 0;
  std::string where_;
};

}  // namespace hopskip

#endif  // HOPSKIP_BASE_BYTE_READER_H_
