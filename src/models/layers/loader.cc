#include "models/layers/loader.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/check.h"

namespace hopskip {

WeightPtr Loader::matrix(std::string_view name, int64_t out, int64_t in) const {
  return load(name, {out, in});
}

WeightPtr Loader::vector(std::string_view name, int64_t size) const { return load(name, {size}); }

WeightPtr Loader::load(std::string_view name, std::initializer_list<int64_t> shape) const {
  const std::string full_name = prefix_ + std::string(name);
  const TensorView& view = checkpoint_.get(full_name);
  const std::span<const int64_t> found(view.shape.data(), view.rank);
  if (!std::ranges::equal(found, shape)) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("tensor '{}' has shape [{}], the model's configuration asks for [{}]",
                            full_name, fmt::join(found, ", "), fmt::join(shape, ", ")),
                checkpoint_.path);
  }
  return backend_.load(view);
}

}  // namespace hopskip
