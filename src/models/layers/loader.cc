#include "models/layers/loader.h"

#include <utility>

#include "base/check.h"

namespace hopskip {

int64_t Loader::Plan::bytes() const {
  int64_t bytes = 0;
  for (const TensorView& part : parts) {
    bytes += part.bytes();
  }
  return bytes;
}

WeightPtr Loader::matrix(std::string_view name, int64_t out, int64_t in, Split split) const {
  return load(name, out, in, split);
}

WeightPtr Loader::vector(std::string_view name, int64_t size, Split split) const {
  return load(name, size, 0, split);
}

WeightPtr Loader::experts(std::string_view name, int64_t count, int64_t out, int64_t in,
                          Split split) const {
  std::vector<Part> parts;
  std::vector<TensorView> views;
  for (int64_t e = 0; e < count; ++e) {
    const std::string full = fmt::format("{}experts.{}.{}", prefix_, e, name);
    views.push_back(parts.emplace_back(part(full, out, in, split)).slice.view);
    check(views.back().dtype == views.front().dtype, ErrorCode::kCorrupt,
          "{}: tensor '{}' is {}, and that of expert 0 {}", checkpoint_.path, full,
          dtype_name(views.back().dtype), dtype_name(views.front().dtype));
  }
  return plan_ ? nullptr : loaded(backend_.load_experts(views), parts);
}

WeightPtr Loader::load(std::string_view name, int64_t out, int64_t in, Split split) const {
  Part one = part(prefix_ + std::string(name), out, in, split);
  return plan_ ? nullptr : loaded(backend_.load(one.slice.view), {&one, 1});
}

Loader::Part Loader::part(const std::string& name, int64_t out, int64_t in, Split split) const {
  const auto [rank, size] = world();
  const int64_t all_out = split == Split::kOut ? out * size : out;
  const int64_t all_in = split == Split::kIn ? in * size : in;
  const TensorView& whole =
      in == 0 ? checkpoint_.get(name, {all_out}) : checkpoint_.get(name, {all_out, all_in});
  Part part{{whole, {}}, &whole};
  if (split != Split::kNone && size > 1) {
    const int64_t block = block_elements(whole.dtype);
    const int64_t along_blocks = in == 0 ? out : in;  // a row's values, of this part
    check(along_blocks % block == 0, ErrorCode::kUnsupported,
          "{}: tensor '{}' is {}, in blocks of {} values; {} values do not spread over {} ranks "
          "without cutting one",
          checkpoint_.path, name, dtype_name(whole.dtype), block, along_blocks * size, size);
    if (plan_) {
      part.slice.view.data = nullptr;
      part.slice.view.random.reset();
      part.slice.view.shape = {out, in};
    } else if (split == Split::kOut) {
      part.slice = slice_rows(whole, rank * out, out);
    } else {
      part.slice = slice_cols(whole, rank * in, in);
    }
  }
  if (plan_) {
    plan_->parts.push_back(part.slice.view);
  }
  return part;
}

WeightPtr Loader::loaded(WeightPtr weight, std::span<Part> parts) const {
  for (auto& [slice, whole] : parts) {
    progress_->done += slice.view.bytes();
    if (slice.copy.bytes() > 0) {
      checkpoint_.release(*whole);
      if (!weight->is_copy()) {
        memory_->push_back(std::move(slice.copy));
      }
    } else if (weight->is_copy()) {
      checkpoint_.release(slice.view);
    }
  }
  if (progress_->on_load) {
    progress_->on_load(progress_->done, progress_->total);
  }
  return weight;
}

}  // namespace hopskip
