// Descriptors for Hopper's tensor copy engine (TMA).
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_TENSOR_MAP_H_
#define HOPSKIP_KERNELS_CUDA_COMMON_TENSOR_MAP_H_

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <string_view>

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda {

inline int scalar_bytes(ScalarType type) { return type == ScalarType::kF8E4M3 ? 1 : 2; }

// Rows of `columns` contiguous elements at [page][head][token]; strides in elements. A tensor
// without pages has one.
struct RowTensor {
  const void* data;
  ScalarType type;
  int64_t columns;
  int64_t tokens;
  int64_t heads;
  int64_t pages;
  int64_t token_stride;
  int64_t head_stride;
  int64_t page_stride;
};

// The tensors of a call: q, and k or v, which `data` says.
RowTensor q_tensor(const Launch& launch);
RowTensor kv_tensor(const Launch& launch, const void* data);

// A box is `box_columns` columns of `box_tokens` tokens of one head and page, at coordinates
// (column, token, head, page); in shared memory its rows lie one behind the other, swizzled over
// their width of 64 or 128 bytes. Outside the tensor it reads zeros. Throws Device.
CUtensorMap make_tensor_map(const RowTensor& tensor, int box_columns, int box_tokens);

// Throws Device, naming the kernel, unless `error` is success. Not inline: nvcc does not compile
// what its message needs.
void check_launch(cudaError_t error, std::string_view kernel);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_TENSOR_MAP_H_
