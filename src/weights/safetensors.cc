// The safetensors container: u64 header size, a JSON header {name: {dtype, shape, data_offsets}},
// then the data. Source: the README of the safetensors project.
#include <algorithm>
#include <cstring>

#include "base/byte_reader.h"
#include "weights/formats.h"
#include "weights/json.h"

namespace hopskip {
namespace {

constexpr size_t kMaxTensors = 64 << 10;

struct TypeRow {
  std::string_view name;
  DType dtype;
};

constexpr TypeRow kTypes[] = {
    {"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16}, {"I32", DType::kI32}};

DType dtype_of(const std::string& type, const std::string& where) {
  for (const TypeRow& row : kTypes) {
    if (row.name == type) {
      return row.dtype;
    }
  }
  fail(ErrorCode::kUnsupported, "{} has type '{}'; supported are F32, F16, BF16 and I32", where,
       type);
}

struct Range {
  uint64_t begin = 0, end = 0;  // from the start of the data
  std::string name;
};

// A list of at most `most` whole numbers ≥ 0.
std::vector<uint64_t> naturals(const JsonObject& info, const char* key, size_t most) {
  const nlohmann::json* list = info.find(key);
  check(list != nullptr && list->is_array() && list->size() <= most, ErrorCode::kCorrupt,
        "{}: '{}' is no list of at most {} numbers", info.where(), key, most);
  std::vector<uint64_t> values;
  for (const nlohmann::json& entry : *list) {
    const std::optional<int64_t> value = whole_number(entry);
    check(value && *value >= 0, ErrorCode::kCorrupt, "{}: '{}' holds no natural number",
          info.where(), key);
    values.push_back(static_cast<uint64_t>(*value));
  }
  return values;
}

// Reads one entry; view.data is left to the caller.
Range read_entry(const JsonObject& info, uint64_t data_bytes, TensorView* view) {
  view->dtype = dtype_of(info.text("dtype", ""), info.where());
  uint64_t elements = 1;
  for (const uint64_t extent : naturals(info, "shape", TensorView::kMaxRank)) {
    check(extent > 0 && checked_multiply(elements, extent, &elements), ErrorCode::kCorrupt,
          "{} has an impossible shape", info.where());
    view->shape[view->rank++] = static_cast<int64_t>(extent);
  }
  const std::vector<uint64_t> offsets = naturals(info, "data_offsets", 2);
  check(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes,
        ErrorCode::kCorrupt, "{} does not lie inside the {} bytes of data", info.where(),
        data_bytes);
  uint64_t bytes = 0;
  check(checked_multiply(elements, block_bytes(view->dtype), &bytes) &&
            bytes == offsets[1] - offsets[0],
        ErrorCode::kCorrupt, "{} takes {} bytes, which its shape does not", info.where(),
        offsets[1] - offsets[0]);
  return {offsets[0], offsets[1], {}};
}

void check_apart(std::vector<Range> ranges, const std::string& where) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < ranges.size(); ++i) {
    check(ranges[i].begin >= ranges[i - 1].end, ErrorCode::kCorrupt,
          "{}: tensors '{}' and '{}' overlap", where, ranges[i - 1].name, ranges[i].name);
  }
}

// The format does not align tensors, so a scalar may stand where its type cannot be read in place.
const void* aligned(std::span<const std::byte> bytes, DType dtype, Checkpoint* checkpoint) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % block_bytes(dtype) == 0) {
    return bytes.data();
  }
  Buffer& copy = checkpoint->copies.emplace_back(bytes.size());
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  return copy.data();
}

}  // namespace

void add_safetensors(std::span<const std::byte> bytes, const std::string& where,
                     Checkpoint* checkpoint) {
  ByteReader in(bytes, where);
  const auto header_bytes = in.read<uint64_t>();
  if (header_bytes > kMaxJsonBytes) {
    in.corrupt("a header of {} bytes; at most {} are read", header_bytes, kMaxJsonBytes);
  }
  const nlohmann::json header = parse_json(in.take_text(header_bytes), where);
  const std::span<const std::byte> data = in.take(in.remaining());
  check(header.is_object() && header.size() <= kMaxTensors, ErrorCode::kCorrupt,
        "{}: the header is no object of at most {} tensors", where, kMaxTensors);
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      continue;
    }
    TensorView view;
    Range range =
        read_entry(JsonObject(entry, where + ": tensor '" + name + "'"), data.size(), &view);
    view.data = aligned(data.subspan(range.begin, range.end - range.begin), view.dtype, checkpoint);
    range.name = name;
    ranges.push_back(std::move(range));
    check(checkpoint->tensors.emplace(name, view).second, ErrorCode::kCorrupt,
          "{}: the tensor '{}' stands in another file too", where, name);
  }
  check_apart(std::move(ranges), where);
}

}  // namespace hopskip
