// Between float32 and every stored element type. Scalar and obvious: the specification that faster
// code is tested against, and the tool that makes test data.
#ifndef HOPSKIP_TENSOR_QUANTIZE_H_
#define HOPSKIP_TENSOR_QUANTIZE_H_

#include <cstdint>

#include "tensor/dtype.h"

namespace hopskip {

// src: row_bytes(dtype, elements) bytes, any alignment; dst: [elements] floats. `elements` must be
// a multiple of block_elements(dtype), otherwise InvalidArgument. kI32 is Unsupported.
void dequantize(DType dtype, const void* src, float* dst, int64_t elements);

// src: [elements] finite floats; dst: row_bytes(dtype, elements) bytes, any alignment. Rounds to
// the nearest level of a plain min/max scale; no search for a better scale. kF8E4M3 has no scale
// and saturates (base/float8.h). Errors as dequantize().
void quantize(DType dtype, const float* src, void* dst, int64_t elements);

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_QUANTIZE_H_
