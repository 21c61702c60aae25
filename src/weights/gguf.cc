#include "weights/gguf.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/byte_reader.h"
#include "base/check.h"

namespace hopskip {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxPairs = 64 << 10;
constexpr uint64_t kMaxTensors = 64 << 10;
constexpr uint64_t kMaxText = 16 << 20;
constexpr uint64_t kMaxElements = 16 << 20;  // of an array: they are widened to 8 or 16 bytes each
constexpr uint64_t kMaxAlignment = 64 << 10;
constexpr uint64_t kMinAlignment = 8;  // so that every scalar type can be read in place
constexpr uint64_t kDefaultAlignment = 32;

// ---- key-value pairs ----------------------------------------------------------------------------

enum class Type : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

std::string_view read_text(ByteReader& in) {
  const auto size = in.read<uint64_t>();
  if (size > kMaxText) {
    in.corrupt("a string of {} bytes; at most {} are read", size, kMaxText);
  }
  return in.take_text(size);
}

int64_t read_u64(ByteReader& in) {
  const auto value = in.read<uint64_t>();
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    in.corrupt("the integer {} is out of range", value);
  }
  return static_cast<int64_t>(value);
}

int64_t read_integer(ByteReader& in, Type type) {
  switch (type) {
    case Type::kU8:
    case Type::kBool:
      return in.read<uint8_t>();
    case Type::kI8:
      return in.read<int8_t>();
    case Type::kU16:
      return in.read<uint16_t>();
    case Type::kI16:
      return in.read<int16_t>();
    case Type::kU32:
      return in.read<uint32_t>();
    case Type::kI32:
      return in.read<int32_t>();
    case Type::kI64:
      return in.read<int64_t>();
    default:
      return read_u64(in);
  }
}

double read_real(ByteReader& in, Type type) {
  return type == Type::kF32 ? static_cast<double>(in.read<float>()) : in.read<double>();
}

// Bytes an element takes at least: what bounds an array's count by the bytes that are left.
uint64_t least_bytes(const ByteReader& in, Type type) {
  switch (type) {
    case Type::kU8:
    case Type::kI8:
    case Type::kBool:
      return 1;
    case Type::kU16:
    case Type::kI16:
      return 2;
    case Type::kU32:
    case Type::kI32:
    case Type::kF32:
      return 4;
    case Type::kText:
    case Type::kU64:
    case Type::kI64:
    case Type::kF64:
      return 8;
    case Type::kArray:
      fail(ErrorCode::kUnsupported, "{}: a key holds an array of arrays (at byte {})", in.where(),
           in.offset());
  }
  in.corrupt("value type {} does not exist", static_cast<uint32_t>(type));
}

GgufArray read_array(ByteReader& in) {
  const auto type = static_cast<Type>(in.read<uint32_t>());
  const auto count = in.read<uint64_t>();
  if (count > kMaxElements || count > in.remaining() / least_bytes(in, type)) {
    in.corrupt("an array of {} elements does not fit in the {} bytes left, or in {} elements",
               count, in.remaining(), kMaxElements);
  }
  const auto read_all = [&](auto&& read_one) {
    std::vector<decltype(read_one())> values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      values.push_back(read_one());
    }
    return values;
  };
  if (type == Type::kText) {
    return read_all([&] { return read_text(in); });
  }
  if (type == Type::kF32 || type == Type::kF64) {
    return read_all([&] { return read_real(in, type); });
  }
  return read_all([&] { return read_integer(in, type); });
}

GgufValue read_value(ByteReader& in) {
  const auto type = static_cast<Type>(in.read<uint32_t>());
  if (type == Type::kArray) {
    return read_array(in);
  }
  least_bytes(in, type);  // refuses types that do not exist
  if (type == Type::kText) {
    return read_text(in);
  }
  if (type == Type::kF32 || type == Type::kF64) {
    return read_real(in, type);
  }
  const int64_t value = read_integer(in, type);
  if (type == Type::kBool) {
    return value != 0;
  }
  return value;
}

GgufMetadata read_metadata(ByteReader& in, uint64_t pairs) {
  GgufMetadata metadata;
  metadata.where = in.where();
  for (uint64_t i = 0; i < pairs; ++i) {
    const std::string_view key = read_text(in);
    GgufValue value = read_value(in);
    if (!metadata.values.emplace(key, std::move(value)).second) {
      in.corrupt("the key '{}' stands twice", key);
    }
  }
  return metadata;
}

// ---- tensors ------------------------------------------------------------------------------------

struct TypeRow {
  uint32_t id;
  std::string_view name;
  std::optional<DType> dtype;  // nullopt: known to the format, not to us
};

constexpr TypeRow kTypes[] = {
    {0, "F32", DType::kF32},
    {1, "F16", DType::kF16},
    {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},
    {6, "Q5_0", {}},
    {7, "Q5_1", {}},
    {8, "Q8_0", DType::kQ8_0},
    {9, "Q8_1", {}},
    {10, "Q2_K", {}},
    {11, "Q3_K", {}},
    {12, "Q4_K", DType::kQ4_K},
    {13, "Q5_K", DType::kQ5_K},
    {14, "Q6_K", DType::kQ6_K},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},
    {18, "IQ3_XXS", {}},
    {19, "IQ1_S", {}},
    {20, "IQ4_NL", {}},
    {21, "IQ3_S", {}},
    {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},
    {24, "I8", {}},
    {25, "I16", {}},
    {26, "I32", DType::kI32},
    {27, "I64", {}},
    {28, "F64", {}},
    {29, "IQ1_M", {}},
    {30, "BF16", DType::kBF16},
    {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},
    {39, "MXFP4", {}},
};

std::string supported_types() {
  std::string names;
  for (const TypeRow& row : kTypes) {
    if (row.dtype) {
      names.append(names.empty() ? "" : ", ").append(row.name);
    }
  }
  return names;
}

DType dtype_of(uint32_t id, std::string_view tensor, const ByteReader& in) {
  const auto* row = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [&](const TypeRow& candidate) { return candidate.id == id; });
  const std::string type = row == std::end(kTypes) ? std::to_string(id) : std::string(row->name);
  check(row != std::end(kTypes) && row->dtype.has_value(), ErrorCode::kUnsupported,
        "{}: tensor '{}' has type {}; supported are {}", in.where(), tensor, type,
        supported_types());
  return *row->dtype;
}

struct TensorInfo {
  GgufTensor tensor;
  uint64_t offset;  // from the start of the data section
  uint64_t bytes;
};

// Fills shape and checks that elements and bytes fit in 63 bits.
TensorInfo read_tensor_info(ByteReader& in, uint64_t alignment) {
  TensorInfo info{};
  info.tensor.name = read_text(in);
  const std::string_view name = info.tensor.name;
  TensorView& view = info.tensor.view;
  const auto rank = in.read<uint32_t>();
  if (rank < 1 || rank > TensorView::kMaxRank) {
    in.corrupt("tensor '{}' has {} dimensions; 1..{} are possible", name, rank,
               TensorView::kMaxRank);
  }
  view.rank = static_cast<int>(rank);
  uint64_t elements = 1;
  for (int i = view.rank - 1; i >= 0; --i) {  // GGUF lists the innermost dimension first
    view.shape[i] = read_u64(in);
    if (view.shape[i] == 0 || !checked_multiply(elements, view.shape[i], &elements)) {
      in.corrupt("tensor '{}' has an impossible shape", name);
    }
  }
  view.dtype = dtype_of(in.read<uint32_t>(), name, in);
  const int64_t row = view.shape[view.rank - 1];
  if (row % block_elements(view.dtype) != 0) {
    in.corrupt("tensor '{}' has rows of {} elements, no whole number of {} blocks", name, row,
               dtype_name(view.dtype));
  }
  if (!checked_multiply(elements / block_elements(view.dtype), block_bytes(view.dtype),
                        &info.bytes) ||
      elements > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    in.corrupt("tensor '{}' has an impossible size", name);
  }
  info.offset = in.read<uint64_t>();
  if (info.offset % alignment != 0) {
    in.corrupt("tensor '{}' lies at {}, no multiple of the alignment {}", name, info.offset,
               alignment);
  }
  return info;
}

// Points every tensor at its bytes; they must lie in the file and apart from each other.
void place(std::vector<TensorInfo>& infos, ByteReader& in, uint64_t alignment) {
  const uint64_t padding = (alignment - in.offset() % alignment) % alignment;
  if (infos.empty()) {
    return;
  }
  in.take(padding);
  const std::span<const std::byte> data = in.take(in.remaining());
  std::vector<const TensorInfo*> order;
  order.reserve(infos.size());
  for (TensorInfo& info : infos) {
    if (info.offset > data.size() || info.bytes > data.size() - info.offset) {
      in.corrupt("tensor '{}' ({} bytes at {}) ends beyond the {} bytes of data", info.tensor.name,
                 info.bytes, info.offset, data.size());
    }
    info.tensor.view.data = data.data() + info.offset;
    order.push_back(&info);
  }
  std::sort(order.begin(), order.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset - order[i - 1]->offset < order[i - 1]->bytes) {
      in.corrupt("tensors '{}' and '{}' overlap", order[i - 1]->tensor.name, order[i]->tensor.name);
    }
  }
}

uint64_t alignment_of(const GgufMetadata& metadata) {
  const auto alignment =
      metadata.integer("general.alignment").value_or(static_cast<int64_t>(kDefaultAlignment));
  const auto value = static_cast<uint64_t>(alignment);
  check(alignment > 0 && std::has_single_bit(value) && value >= kMinAlignment &&
            value <= kMaxAlignment,
        ErrorCode::kCorrupt, "{}: the alignment {} is no power of two in {}..{}", metadata.where,
        alignment, kMinAlignment, kMaxAlignment);
  return value;
}

template <typename T>
const T* value_of(const GgufMetadata& metadata, std::string_view key, std::string_view wanted) {
  const auto it = metadata.values.find(key);
  if (it == metadata.values.end()) {
    return nullptr;
  }
  const T* value = std::get_if<T>(&it->second);
  check(value != nullptr, ErrorCode::kCorrupt, "{}: the value of '{}' is not {}", metadata.where,
        key, wanted);
  return value;
}

template <typename T>
const std::vector<T>* array_of(const GgufMetadata& metadata, std::string_view key,
                               std::string_view wanted) {
  const auto* array = value_of<GgufArray>(metadata, key, wanted);
  if (array == nullptr) {
    return nullptr;
  }
  const auto* values = std::get_if<std::vector<T>>(array);
  check(values != nullptr, ErrorCode::kCorrupt, "{}: the value of '{}' is not {}", metadata.where,
        key, wanted);
  return values;
}

template <typename T>
std::optional<T> copy_of(const T* value) {
  return value == nullptr ? std::nullopt : std::optional<T>(*value);
}

}  // namespace

std::optional<int64_t> GgufMetadata::integer(std::string_view key) const {
  return copy_of(value_of<int64_t>(*this, key, "an integer"));
}
std::optional<double> GgufMetadata::real(std::string_view key) const {
  return copy_of(value_of<double>(*this, key, "a floating-point number"));
}
std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  return copy_of(value_of<bool>(*this, key, "a boolean"));
}
std::optional<std::string_view> GgufMetadata::text(std::string_view key) const {
  return copy_of(value_of<std::string_view>(*this, key, "a string"));
}
const std::vector<int64_t>* GgufMetadata::integers(std::string_view key) const {
  return array_of<int64_t>(*this, key, "an array of integers");
}
const std::vector<std::string_view>* GgufMetadata::texts(std::string_view key) const {
  return array_of<std::string_view>(*this, key, "an array of strings");
}

GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& where) {
  ByteReader in(bytes, where);
  if (in.read<uint32_t>() != kMagic) {
    in.corrupt("no GGUF file: it does not begin with 'GGUF'");
  }
  const auto version = in.read<uint32_t>();
  check(version == 0 || version % 65536 != 0, ErrorCode::kUnsupported,
        "{}: a big-endian GGUF file; convert it to little-endian", where);
  check(version == 2 || version == 3, ErrorCode::kUnsupported,
        "{}: GGUF version {}; versions 2 and 3 are read", where, version);
  const auto tensors = in.read<uint64_t>();
  const auto pairs = in.read<uint64_t>();
  if (tensors > kMaxTensors || pairs > kMaxPairs) {
    in.corrupt("{} tensors and {} keys; at most {} and {} are read", tensors, pairs, kMaxTensors,
               kMaxPairs);
  }
  GgufFile file;
  file.metadata = read_metadata(in, pairs);
  const uint64_t alignment = alignment_of(file.metadata);
  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < tensors; ++i) {
    infos.push_back(read_tensor_info(in, alignment));
  }
  place(infos, in, alignment);
  for (const TensorInfo& info : infos) {
    file.tensors.push_back(info.tensor);
  }
  return file;
}

}  // namespace hopskip
