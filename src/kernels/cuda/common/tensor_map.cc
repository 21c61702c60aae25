#include "kernels/cuda/common/tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include "base/check.h"

namespace hopskip::cuda {
namespace {

// Asked of the runtime, so that nothing has to be linked with the driver.
PFN_cuTensorMapEncodeTiled_v12000 encode_function() {
  static const PFN_cuTensorMapEncodeTiled_v12000 function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                               12000, cudaEnableDefault, &found);
    check(error == cudaSuccess && found == cudaDriverEntryPointSuccess, ErrorCode::kDevice,
          "the CUDA driver has no cuTensorMapEncodeTiled ({}); Hopper's kernels need a driver for "
          "CUDA 12 or later",
          cudaGetErrorString(error));
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry);
  }();
  return function;
}

CUtensorMapDataType data_type(ScalarType type) {
  switch (type) {
    case ScalarType::kBF16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case ScalarType::kF16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case ScalarType::kF8E4M3:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
  return CU_TENSOR_MAP_DATA_TYPE_UINT8;
}

}  // namespace

RowTensor q_tensor(const Launch& launch) {
  const AttentionArgs& args = launch.args;
  return {.data = args.q,
          .type = launch.config.q_type,
          .columns = launch.config.head_dim,
          .tokens = launch.q_rows,
          .heads = args.num_heads,
          .pages = 1,
          .token_stride = args.q_row_stride,
          .head_stride = args.q_head_stride,
          .page_stride = launch.q_rows * args.q_row_stride};
}

RowTensor kv_tensor(const Launch& launch, const void* data) {
  const AttentionArgs& args = launch.args;
  const bool paged = args.page_size > 0;
  return {.data = data,
          .type = launch.config.kv_type,
          .columns = launch.config.head_dim,
          .tokens = paged ? args.page_size : launch.kv_tokens,
          .heads = args.num_kv_heads,
          .pages = paged ? launch.num_pages : 1,
          .token_stride = args.kv.token,
          .head_stride = args.kv.head,
          .page_stride = paged ? args.kv.page : launch.kv_tokens * args.kv.token};
}

CUtensorMap make_tensor_map(const RowTensor& tensor, int box_columns, int box_tokens) {
  const int bytes = scalar_bytes(tensor.type);
  const cuuint64_t extents[] = {
      static_cast<cuuint64_t>(tensor.columns), static_cast<cuuint64_t>(tensor.tokens),
      static_cast<cuuint64_t>(tensor.heads), static_cast<cuuint64_t>(tensor.pages)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(tensor.token_stride * bytes),
                                static_cast<cuuint64_t>(tensor.head_stride * bytes),
                                static_cast<cuuint64_t>(tensor.page_stride * bytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(box_columns),
                            static_cast<cuuint32_t>(box_tokens), 1, 1};
  const cuuint32_t steps[] = {1, 1, 1, 1};
  CUtensorMap map;
  // The cache fetches no more than a row: behind it may lie another head, which others read later.
  const CUresult result = encode_function()(
      &map, data_type(tensor.type), 4, const_cast<void*>(tensor.data), extents, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE,
      box_columns * bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B,
      tensor.columns * bytes >= 256 ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                                    : CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(
      result == CUDA_SUCCESS, ErrorCode::kDevice,
      "cuTensorMapEncodeTiled refuses rows of {} elements, {} tokens {} apart, {} heads {} apart, "
      "{} pages {} apart (error {})",
      tensor.columns, tensor.tokens, tensor.token_stride, tensor.heads, tensor.head_stride,
      tensor.pages, tensor.page_stride, static_cast<int>(result));
  return map;
}

void check_launch(cudaError_t error, std::string_view kernel) {
  check(error == cudaSuccess, ErrorCode::kDevice, "the {} kernel did not start: {}", kernel,
        cudaGetErrorString(error));
}

}  // namespace hopskip::cuda
