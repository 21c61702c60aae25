// Writes GGUF and safetensors bytes, well-formed or broken on purpose.
#ifndef HOPSKIP_TESTS_SUPPORT_CHECKPOINT_WRITER_H_
#define HOPSKIP_TESTS_SUPPORT_CHECKPOINT_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/dtype.h"

namespace hopskip::test {

// Little-endian bytes, growing at the end.
class Bytes {
 public:
  template <typename T>
  Bytes& put(T value) {
    return raw(&value, sizeof(value));
  }
  Bytes& raw(const void* data, size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    data_.insert(data_.end(), first, first + size);
    return *this;
  }
  Bytes& text(std::string_view value) {  // u64 size, then the characters
    return put<uint64_t>(value.size()).raw(value.data(), value.size());
  }
  Bytes& pad_to(size_t multiple) {
    data_.resize((data_.size() + multiple - 1) / multiple * multiple);
    return *this;
  }
  size_t size() const { return data_.size(); }
  std::vector<std::byte>& data() { return data_; }
  std::span<const std::byte> span() const { return data_; }

 private:
  std::vector<std::byte> data_;
};

// A tensor's stored bytes; `shape` is outermost first, as in TensorView.
struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

// Reproducible normal values of the given deviation, stored as `dtype`.
StoredTensor random_tensor(std::string name, DType dtype, std::vector<int64_t> shape, uint32_t seed,
                           float deviation = 1.0f);

class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::optional<uint64_t> tensor_count, pair_count;  // to lie about the counts

  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, uint32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void i32s(std::string_view key, const std::vector<int32_t>& values);
  void u16(std::string_view key, uint16_t value);
  void raw_pair(std::string_view key, uint32_t type, std::span<const std::byte> value);

  // `offset` and `type` override what is written in the tensor's row.
  void tensor(StoredTensor tensor, std::optional<uint64_t> offset = {},
              std::optional<uint32_t> type = {});

  std::vector<std::byte> bytes() const;

 private:
  struct Entry {
    StoredTensor tensor;
    std::optional<uint64_t> offset;
    std::optional<uint32_t> type;
  };
  Bytes& pair(std::string_view key, uint32_t type);

  Bytes pairs_;
  uint64_t pairs_written_ = 0;
  std::vector<Entry> entries_;
};

// A safetensors file with its header padded to eight bytes, as the official writer does, unless
// `header_padding` says otherwise.
std::vector<std::byte> safetensors_bytes(const std::vector<StoredTensor>& tensors,
                                         size_t header_padding = 8);
// A file of u64 header size, the header as given, and `data`.
std::vector<std::byte> safetensors_raw(std::string_view header, std::span<const std::byte> data);

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

// A folder under the system's temporary one; removed with all it holds.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_CHECKPOINT_WRITER_H_
