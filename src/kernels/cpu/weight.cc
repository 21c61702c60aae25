#include "kernels/cpu/weight.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "tensor/quantize.h"

namespace hopskip {

CpuWeight::CpuWeight(ThreadPool& pool, HugeArena& arena, const TensorView& view)
    : CpuWeight(pool, arena, stored(pool, arena, view), weight_shape(view)) {}

CpuWeight::CpuWeight(ThreadPool& pool, HugeArena& arena, const StoredView& stored,
                     WeightShape shape)
    : Weight(shape.rows, shape.cols, stored.view.dtype), values_(stored.values) {
  const TensorView& view = stored.view;
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

int64_t CpuWeight::bytes_taken(const TensorView& view) {
  const int64_t values = view.random ? view.bytes() : 0;
  if (view.rank == 1) {
    return values + view.elements() * int64_t{sizeof(float)};
  }
  const PackedFormat* format = packed_format(view.dtype);
  if (format == nullptr) {
    return values;
  }
  const WeightShape shape = weight_shape(view);
  return values + packed_bytes(*format, shape.rows, shape.cols);
}

CpuWeight::StoredView CpuWeight::stored(ThreadPool& pool, HugeArena& arena,
                                        const TensorView& view) {
  if (!view.random) {
    return {view, nullptr};
  }
  const SharedBytes values = arena.allocate(view.bytes());
  const std::span all(reinterpret_cast<bf16*>(values.get()), view.elements());
  constexpr int64_t kTaskValues = 65536;  // some 0.2 ms
  pool.parallel_for((std::ssize(all) + kTaskValues - 1) / kTaskValues, [&](int64_t task, int) {
    const int64_t begin = task * kTaskValues;
    write_values(*view.random, begin,
                 all.subspan(begin, std::min(kTaskValues, std::ssize(all) - begin)));
  });
  StoredView result{view, values};
  result.view.random.reset();
  result.view.data = values.get();
  return result;
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
