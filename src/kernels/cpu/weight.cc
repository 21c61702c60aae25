#include "kernels/cpu/weight.h"

#include "base/check.h"
#include "tensor/quantize.h"

namespace hopskip {

CpuWeight::CpuWeight(ThreadPool& pool, const TensorView& view)
    : CpuWeight(pool, view, weight_shape(view)) {}

CpuWeight::CpuWeight(ThreadPool& pool, const TensorView& view, WeightShape shape)
    : Weight(shape.rows, shape.cols, view.dtype) {
  if (view.rank == 1) {
    copy_ = Buffer(shape.rows * sizeof(float));
    dequantize(view.dtype, view.data, copy_.as<float>(), shape.rows);
    plain_ = copy_.as<std::byte>();
  } else if (is_quantized(view.dtype)) {
    format_ = packed_format(view.dtype);
    copy_ = pack(pool, view.dtype, view.as<std::byte>(), shape.rows, shape.cols);
  } else {
    plain_dtype_ = view.dtype;
    plain_ = view.as<std::byte>();
  }
}

const float* CpuWeight::vector() const {
  check(plain_ != nullptr && plain_ == copy_.as<std::byte>(), ErrorCode::kInvalidArgument,
        "a {} x {} weight where a vector is wanted", rows(), cols());
  return copy_.as<float>();
}

void CpuWeight::read_row(int64_t row, float* dst) const {
  if (format_ != nullptr) {
    unpack_row(*format_, copy_.as<std::byte>(), row, cols(), dst);
  } else {
    dequantize(plain_dtype_, plain_row(row), dst, cols());
  }
}

}  // namespace hopskip
