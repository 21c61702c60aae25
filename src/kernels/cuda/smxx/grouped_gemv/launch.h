// Products of few rows with each expert's weights, at the speed at which these can be read.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_GROUPED_GEMV_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_GROUPED_GEMV_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// Any number of rows is right; each 32 rows of an expert read its weights once.
struct GroupedGemvArgs {
  const void* a;          // [any][in] BF16, rows a_stride elements apart
  const int32_t* a_rows;  // [max_rows]: row of a for each row of c; null: the same row
  const void* b;          // [experts][out][in] BF16, on a line of 16 bytes
  const void* b_up;       // like b: c = silu(a · bᵀ) · (a · b_upᵀ); null: c = a · bᵀ
  void* c;                // [max_rows][out] BF16
  // MoeLayout's, of any block_rows
  const int32_t* offsets;
  const int32_t* counts;
  const int32_t* active;
  const int32_t* num_active;
  int64_t a_stride;    // a multiple of 8
  int32_t max_active;  // ≥ *num_active: min(experts, tokens · k)
  int32_t in;          // a multiple of 8
  int32_t out;
};

void launch_grouped_gemv(const GroupedGemvArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_GROUPED_GEMV_LAUNCH_H_
