#include "kernels/cpu/weight.h"

#include "base/check.h"
#include "tensor/quantize.h"

namespace hopskip {

CpuWeight::CpuWeight(ThreadPool& pool, HugeArena& arena, const TensorView& view)
    : CpuWeight(pool, arena, view, weight_shape(view)) {}

CpuWeight::CpuWeight(ThreadPool& pool, HugeArena& arena, const TensorView& view, WeightShape shape)
    : Weight(shape.rows, shape.cols, view.dtype) {
  if (view.rank == 1) {
    copy_ = arena.allocate(shape.rows * sizeof(float));
    dequantize(view.dtype, view.data, reinterpret_cast<float*>(copy_.get()), shape.rows);
    plain_ = copy_.get();
  } else if (is_quantized(view.dtype)) {
    format_ = packed_format(view.dtype);
    copy_ = arena.allocate(packed_bytes(*format_, shape.rows, shape.cols));
    pack(pool, view.dtype, view.as<std::byte>(), shape.rows, shape.cols, copy_.get());
  } else {
    plain_dtype_ = view.dtype;
    plain_ = view.as<std::byte>();
  }
}

const float* CpuWeight::vector() const {
  check(plain_ != nullptr && plain_ == copy_.get(), ErrorCode::kInvalidArgument,
        "a {} x {} weight where a vector is wanted", rows(), cols());
  return reinterpret_cast<const float*>(plain_);
}

void CpuWeight::read_row(int64_t row, float* dst) const {
  if (format_ != nullptr) {
    unpack_row(*format_, copy_.get(), row, cols(), dst);
  } else {
    dequantize(plain_dtype_, plain_row(row), dst, cols());
  }
}

}  // namespace hopskip
