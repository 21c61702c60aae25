// Element types of tensors: plain scalars and GGUF's block-quantised formats.
#ifndef HOPSKIP_TENSOR_DTYPE_H_
#define HOPSKIP_TENSOR_DTYPE_H_

#include <cstdint>
#include <string_view>

namespace hopskip {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI32,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kF8E4M3,  // of K and V; no checkpoint's weights come in it
};

// A row of a quantised tensor is a run of blocks; block_bytes() bytes hold block_elements() values.
// For scalars block_elements() is 1.
std::string_view dtype_name(DType dtype);
int64_t block_elements(DType dtype);
int64_t block_bytes(DType dtype);

inline bool is_quantized(DType dtype) { return block_elements(dtype) > 1; }

// Bytes of one row of `elements` values; elements must be a multiple of block_elements(dtype).
inline int64_t row_bytes(DType dtype, int64_t elements) {
  return elements / block_elements(dtype) * block_bytes(dtype);
}

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_DTYPE_H_
