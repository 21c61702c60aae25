// A part of a tensor: what one of several ranks loads of it.
#ifndef HOPSKIP_TENSOR_SLICE_H_
#define HOPSKIP_TENSOR_SLICE_H_

#include <cstdint>

#include "tensor/buffer.h"
#include "tensor/view.h"

namespace hopskip {

struct TensorSlice {
  TensorView view;
  Buffer copy;  // what the view shows, where that is no window on the tensor's own memory
};

// Rows [begin, begin + count) of a matrix, or elements of a vector; a window on the same memory, of
// a random tensor the values. Throws Internal for elements outside the tensor and where a block of
// a quantised format would be cut.
TensorSlice slice_rows(const TensorView& tensor, int64_t begin, int64_t count);
// Columns [begin, begin + count) of a matrix, copied; the same errors.
TensorSlice slice_cols(const TensorView& tensor, int64_t begin, int64_t count);

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_SLICE_H_
