// out[i] = x[index[i]], rows of any element type.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_GATHER_ROWS_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_GATHER_ROWS_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct GatherRowsArgs {
  const void* x;           // [any][cols], rows x_stride elements apart
  void* out;               // [rows][cols], rows out_stride elements apart; not x
  const int32_t* index32;  // [rows], or null: index64. Below 0: the row of out is left as it is
  const int64_t* index64;  // [rows], or null: index32
  int64_t rows;
  int64_t cols;
  int64_t x_stride;
  int64_t out_stride;
  int32_t element_bytes;  // F32: 4, BF16: 2
};

void launch_gather_rows(const GatherRowsArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_GATHER_ROWS_LAUNCH_H_
