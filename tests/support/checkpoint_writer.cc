#include "support/checkpoint_writer.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/check.h"
#include "tensor/quantize.h"

namespace hopskip::test {
namespace {

struct TypeRow {
  DType dtype;
  uint32_t gguf;
  const char* safetensors;
};

constexpr TypeRow kTypes[] = {
    {DType::kF32, 0, "F32"},  {DType::kF16, 1, "F16"}, {DType::kBF16, 30, "BF16"},
    {DType::kI32, 26, "I32"}, {DType::kQ4_0, 2, ""},   {DType::kQ4_1, 3, ""},
    {DType::kQ8_0, 8, ""},    {DType::kQ4_K, 12, ""},  {DType::kQ5_K, 13, ""},
    {DType::kQ6_K, 14, ""},
};

const TypeRow& row_of(DType dtype) {
  for (const TypeRow& row : kTypes) {
    if (row.dtype == dtype) {
      return row;
    }
  }
  fail(ErrorCode::kInternal, "no row for {}", dtype_name(dtype));
}

}  // namespace

StoredTensor random_tensor(std::string name, DType dtype, std::vector<int64_t> shape, uint32_t seed,
                           float deviation) {
  int64_t elements = 1;
  for (const int64_t extent : shape) {
    elements *= extent;
  }
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(elements);
  for (float& value : values) {
    value = normal(random);
  }
  StoredTensor tensor{std::move(name), dtype, std::move(shape), {}};
  tensor.bytes.resize(row_bytes(dtype, elements));
  quantize(dtype, values.data(), tensor.bytes.data(), elements);
  return tensor;
}

Bytes& GgufWriter::pair(std::string_view key, uint32_t type) {
  ++pairs_written_;
  return pairs_.text(key).put<uint32_t>(type);
}

void GgufWriter::u16(std::string_view key, uint16_t value) { pair(key, 2).put(value); }
void GgufWriter::u32(std::string_view key, uint32_t value) { pair(key, 4).put(value); }
void GgufWriter::f32(std::string_view key, float value) { pair(key, 6).put(value); }
void GgufWriter::boolean(std::string_view key, bool value) { pair(key, 7).put<uint8_t>(value); }
void GgufWriter::text(std::string_view key, std::string_view value) { pair(key, 8).text(value); }

void GgufWriter::texts(std::string_view key, const std::vector<std::string>& values) {
  Bytes& out = pair(key, 9).put<uint32_t>(8).put<uint64_t>(values.size());
  for (const std::string& value : values) {
    out.text(value);
  }
}

void GgufWriter::i32s(std::string_view key, const std::vector<int32_t>& values) {
  Bytes& out = pair(key, 9).put<uint32_t>(5).put<uint64_t>(values.size());
  out.raw(values.data(), values.size() * sizeof(int32_t));
}

void GgufWriter::raw_pair(std::string_view key, uint32_t type, std::span<const std::byte> value) {
  pair(key, type).raw(value.data(), value.size());
}

void GgufWriter::tensor(StoredTensor tensor, std::optional<uint64_t> offset,
                        std::optional<uint32_t> type) {
  entries_.push_back({std::move(tensor), offset, type});
}

std::vector<std::byte> GgufWriter::bytes() const {
  Bytes out;
  out.raw("GGUF", 4).put<uint32_t>(version);
  out.put<uint64_t>(tensor_count.value_or(entries_.size()));
  out.put<uint64_t>(pair_count.value_or(pairs_written_));
  out.raw(pairs_.span().data(), pairs_.size());
  Bytes data;
  for (const Entry& entry : entries_) {
    const StoredTensor& tensor = entry.tensor;
    out.text(tensor.name).put<uint32_t>(static_cast<uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) {
      out.put<uint64_t>(static_cast<uint64_t>(*extent));
    }
    out.put<uint32_t>(entry.type.value_or(row_of(tensor.dtype).gguf));
    out.put<uint64_t>(entry.offset.value_or(data.size()));
    data.raw(tensor.bytes.data(), tensor.bytes.size()).pad_to(alignment);
  }
  out.pad_to(alignment).raw(data.span().data(), data.size());
  return out.data();
}

std::vector<std::byte> safetensors_raw(std::string_view header, std::span<const std::byte> data) {
  Bytes out;
  out.text(header).raw(data.data(), data.size());
  return out.data();
}

std::vector<std::byte> safetensors_bytes(const std::vector<StoredTensor>& tensors,
                                         size_t header_padding) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  Bytes data;
  for (const StoredTensor& tensor : tensors) {
    const size_t begin = data.size();
    data.raw(tensor.bytes.data(), tensor.bytes.size());
    header[tensor.name] = {{"dtype", row_of(tensor.dtype).safetensors},
                           {"shape", tensor.shape},
                           {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + header_padding - 1) / header_padding * header_padding, ' ');
  return safetensors_raw(text, data.span());
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  check(file.good(), ErrorCode::kInternal, "cannot write '{}'", path.string());
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  write_file(path, std::as_bytes(std::span(text.data(), text.size())));
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "hopskip-XXXXXX").string();
  check(::mkdtemp(name.data()) != nullptr, ErrorCode::kInternal, "cannot make '{}'", name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace hopskip::test
