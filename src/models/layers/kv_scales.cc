#include "models/layers/kv_scales.h"

#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>

#include "base/check.h"
#include "tensor/quantize.h"

namespace hopskip {
namespace {

// The first of the names that is there.
std::optional<float> find_scale(const Checkpoint& checkpoint, const std::string& prefix,
                                std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const TensorView* view = checkpoint.find(prefix + name);
    if (view == nullptr) {
      continue;
    }
    check(view->elements() == 1, ErrorCode::kUnsupported,
          "{}: '{}{}' has {} values; K and V of a layer have one scale each", checkpoint.path,
          prefix, name, view->elements());
    float scale = 0.0f;
    dequantize(view->dtype, view->data, &scale, 1);
    check(std::isfinite(scale) && scale > 0.0f, ErrorCode::kCorrupt,
          "{}: '{}{}' is {}; a scale is positive and finite", checkpoint.path, prefix, name, scale);
    return scale;
  }
  return std::nullopt;
}

}  // namespace

std::vector<KvScale> kv_scales(const Checkpoint& checkpoint) {
  std::vector<KvScale> scales;
  for (int64_t layer = 0; layer < checkpoint.config.num_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
    const auto k = find_scale(checkpoint, prefix, {"k_proj.k_scale", "k_scale", "kv_scale"});
    const auto v = find_scale(checkpoint, prefix, {"v_proj.v_scale", "v_scale", "kv_scale"});
    scales.push_back({k.value_or(v.value_or(1.0f)), v.value_or(k.value_or(1.0f))});
  }
  return scales;
}

}  // namespace hopskip
