// Products of each expert's rows with its weights on Hopper.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// Rows that one expert owns together: the block_rows of its MoeLayout.
inline constexpr int kGroupedGemmRows = 128;

// Rows of c that are padding are left as they are. Needs a GPU of compute capability 9.0.
struct GroupedGemmArgs {
  const void* a;     // [max_rows][in] BF16, on a line of 16 bytes like b and c
  const void* b;     // [experts][out][in] BF16
  const void* b_up;  // like b: c = silu(a · bᵀ) · (a · b_upᵀ); null: c = a · bᵀ
  void* c;           // [max_rows][out] BF16
  // MoeLayout's
  const int32_t* block_experts;  // [max_rows / 128]
  const int32_t* offsets;
  const int32_t* counts;
  int64_t max_rows;  // a multiple of 128
  int32_t experts;
  int32_t in;   // a multiple of 8
  int32_t out;  // a multiple of 8
};

void launch_grouped_gemm(const GroupedGemmArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_LAUNCH_H_
