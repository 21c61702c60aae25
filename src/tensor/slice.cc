#include "tensor/slice.h"

#include <cstring>
#include <span>

#include "base/check.h"

namespace hopskip {
namespace {

// Values of a random tensor, or bytes of a stored one, of rows [row, row + rows) and columns
// [col, col + cols), to memory of the slice's own.
TensorSlice copied(const TensorView& tensor, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  const int64_t width = tensor.rank == 2 ? tensor.shape[1] : 1;
  const int64_t bytes = row_bytes(tensor.dtype, cols);
  TensorSlice slice{tensor, Buffer(rows * bytes)};
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t first = (row + r) * width + col;
    std::byte* target = slice.copy.as<std::byte>() + r * bytes;
    if (tensor.random) {
      write_values(*tensor.random, first,
                   {reinterpret_cast<bf16*>(target), static_cast<size_t>(cols)});
    } else {
      std::memcpy(target, tensor.as<std::byte>() + row_bytes(tensor.dtype, first), bytes);
    }
  }
  slice.view.data = slice.copy.data();
  slice.view.random.reset();
  slice.view.mapped = false;
  return slice;
}

void check_inside(const TensorView& tensor, int dimension, int64_t begin, int64_t count) {
  check((tensor.rank == 1 || tensor.rank == 2) && dimension < tensor.rank && begin >= 0 &&
            count > 0 && count <= tensor.shape[dimension] - begin,
        ErrorCode::kInternal, "{} elements from {} on of dimension {} of a tensor of rank {}",
        count, begin, dimension, tensor.rank);
  // Blocks lie along the last dimension.
  const int64_t block = block_elements(tensor.dtype);
  check(dimension < tensor.rank - 1 || (begin % block == 0 && count % block == 0),
        ErrorCode::kInternal, "elements {} to {} of {} are not whole blocks of {}", begin,
        begin + count, dtype_name(tensor.dtype), block);
}

}  // namespace

TensorSlice slice_rows(const TensorView& tensor, int64_t begin, int64_t count) {
  check_inside(tensor, 0, begin, count);
  const int64_t width = tensor.rank == 2 ? tensor.shape[1] : 1;
  TensorSlice slice;
  if (tensor.random) {
    slice = copied(tensor, begin, count, 0, width);
  } else {
    slice.view = tensor;
    slice.view.data = tensor.as<std::byte>() + row_bytes(tensor.dtype, begin * width);
  }
  slice.view.shape[0] = count;
  return slice;
}

TensorSlice slice_cols(const TensorView& tensor, int64_t begin, int64_t count) {
  check_inside(tensor, 1, begin, count);
  TensorSlice slice = copied(tensor, 0, tensor.shape[0], begin, count);
  slice.view.shape[1] = count;
  return slice;
}

}  // namespace hopskip
