// Sorts the (token, choice) pairs of a step by expert.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_MOE_PERMUTE_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_MOE_PERMUTE_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// Where the rows of each expert lie; everything is device memory. Rows of an expert keep the order
// of the tokens and begin at a multiple of block_rows.
struct MoeLayout {
  int32_t* offsets;     // [experts]: first row of each
  int32_t* counts;      // [experts]: rows of each, without padding
  int32_t* active;      // [experts]: those with rows, ascending, num_active of them
  int32_t* num_active;  // [1]
  int32_t* rows;        // [tokens · k]: row of each pair
  int32_t* row_tokens;  // [max_rows]: token of each row; −1: padding
  // [max_rows / block_rows]: expert of each block; −1 behind the last. Null: not wanted.
  int32_t* block_experts;
};

struct MoePermuteArgs {
  const int32_t* ids;  // [tokens][k], each < experts
  MoeLayout layout;
  int64_t tokens;
  int32_t k;
  int32_t experts;     // ≤ 256
  int32_t block_rows;  // 1 for grouped_gemv, kGroupedGemmRows for grouped_gemm
};

// Rows that a step can need at most: what `row_tokens` and the matrices of the rows hold.
inline int64_t moe_max_rows(int64_t tokens, int k, int experts, int block_rows) {
  const int64_t pairs = tokens * k;
  const int64_t used = pairs < experts ? pairs : experts;
  const int64_t most = pairs + used * (block_rows - 1);
  return most / block_rows * block_rows;  // each expert's part is whole blocks
}

void launch_moe_permute(const MoePermuteArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_MOE_PERMUTE_LAUNCH_H_
