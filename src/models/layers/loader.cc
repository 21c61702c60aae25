#include "models/layers/loader.h"

#include <vector>

#include "base/check.h"

namespace hopskip {

WeightPtr Loader::matrix(std::string_view name, int64_t out, int64_t in) const {
  return load(name, {out, in});
}

WeightPtr Loader::vector(std::string_view name, int64_t size) const { return load(name, {size}); }

WeightPtr Loader::experts(std::string_view name, int64_t count, int64_t out, int64_t in) const {
  std::vector<TensorView> views;
  for (int64_t e = 0; e < count; ++e) {
    const std::string full = fmt::format("{}experts.{}.{}", prefix_, e, name);
    views.push_back(checkpoint_.get(full, {out, in}));
    check(views.back().dtype == views.front().dtype, ErrorCode::kCorrupt,
          "{}: tensor '{}' is {}, and that of expert 0 {}", checkpoint_.path, full,
          dtype_name(views.back().dtype), dtype_name(views.front().dtype));
  }
  return loaded(backend_.load_experts(views), views);
}

WeightPtr Loader::load(std::string_view name, std::initializer_list<int64_t> shape) const {
  const TensorView& view = checkpoint_.get(prefix_ + std::string(name), shape);
  return loaded(backend_.load(view), {&view, 1});
}

WeightPtr Loader::loaded(WeightPtr weight, std::span<const TensorView> from) const {
  if (weight->is_copy()) {
    for (const TensorView& view : from) {
      checkpoint_.release(view);
    }
  }
  for (const TensorView& view : from) {
    progress_->done += view.bytes();
  }
  if (progress_->on_load) {
    progress_->on_load(progress_->done, progress_->total);
  }
  return weight;
}

}  // namespace hopskip
