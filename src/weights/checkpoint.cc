#include "weights/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "base/check.h"

namespace hopskip {

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : &it->second;
}

const TensorView& Checkpoint::get(std::string_view name) const {
  const TensorView* view = find(name);
  check(view != nullptr, ErrorCode::kNotFound, "{}: there is no tensor '{}'", path, name);
  return *view;
}

const TensorView& Checkpoint::get(std::string_view name,
                                  std::initializer_list<int64_t> shape) const {
  const TensorView& view = get(name);
  const auto stored = std::span(view.shape).first(view.rank);
  check(std::equal(stored.begin(), stored.end(), shape.begin(), shape.end()), ErrorCode::kCorrupt,
        "{}: tensor '{}' has shape [{}], not [{}]", path, name, fmt::join(stored, ", "),
        fmt::join(shape, ", "));
  return view;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const auto& [name, view] : tensors) {
    names.push_back(name);
  }
  return names;
}

int64_t Checkpoint::tensor_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, view] : tensors) {
    bytes += view.bytes();
  }
  return bytes;
}

void Checkpoint::release(const TensorView& view) const {
  for (const MappedFile& file : files) {
    file.release({view.as<std::byte>(), static_cast<size_t>(view.bytes())});
  }
}

}  // namespace hopskip
