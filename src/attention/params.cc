#include "attention/params.h"

#include <cmath>

#include "base/check.h"

namespace hopskip {

void validate(const AttentionShape& shape) {
  check(shape.num_heads > 0 && shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
        ErrorCode::kInvalidArgument, "{} query heads cannot share {} KV heads evenly",
        shape.num_heads, shape.num_kv_heads);
  check(shape.head_dim > 0, ErrorCode::kInvalidArgument, "head_dim is {}; it must be positive",
        shape.head_dim);
  // Kernels take maxima before they scale, so a negative scale would turn the order round.
  check(std::isfinite(shape.scale) && shape.scale > 0.0f, ErrorCode::kInvalidArgument,
        "attention scale is {}; it must be positive and finite", shape.scale);
  check(std::isfinite(shape.softcap) && shape.softcap >= 0.0f, ErrorCode::kInvalidArgument,
        "logit soft-cap is {}; it must be positive, or 0 for none", shape.softcap);
  check(shape.window >= 0, ErrorCode::kInvalidArgument,
        "sliding window is {}; it must be positive, or 0 for none", shape.window);
}

}  // namespace hopskip
