#include "models/layers/loader.h"

namespace hopskip {

WeightPtr Loader::matrix(std::string_view name, int64_t out, int64_t in) const {
  return load(name, {out, in});
}

WeightPtr Loader::vector(std::string_view name, int64_t size) const { return load(name, {size}); }

WeightPtr Loader::load(std::string_view name, std::initializer_list<int64_t> shape) const {
  const TensorView& view = checkpoint_.get(prefix_ + std::string(name), shape);
  WeightPtr weight = backend_.load(view);
  if (weight->is_copy()) {
    checkpoint_.release(view);
  }
  return weight;
}

}  // namespace hopskip
