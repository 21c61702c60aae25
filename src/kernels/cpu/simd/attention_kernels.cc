#include "kernels/cpu/simd/attention_kernels.h"

#include <algorithm>

namespace hopskip {

const AttentionKernels& scalar_attention_kernels(DType dtype);
const AttentionKernels& avx2_attention_kernels(DType dtype);
const AttentionKernels& avx512_attention_kernels(DType dtype);

const AttentionKernels& attention_kernels(SimdLevel level, DType dtype) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_attention_kernels(dtype);
    case SimdLevel::kAvx2:
      return avx2_attention_kernels(dtype);
    case SimdLevel::kScalar:
      break;
  }
  return scalar_attention_kernels(dtype);
}

size_t prefill_scratch_bytes(int head_dim, int span) {
  const size_t scores = size_t{kLanes} * span;
  const size_t tiles = size_t{kMaxUnits} * kLanes * head_dim;
  const size_t wide = size_t{2} * span * head_dim;
  return sizeof(float) * (2 * scores + 2 * tiles + wide) + 6 * 64;
}

size_t decode_scratch_bytes(int head_dim, int64_t rows) {
  // Either the packed queries or the votes, weights and maxima.
  const size_t queries = sizeof(float) * head_dim * rows;
  const size_t values = rows * (kSplitSlices + sizeof(float) * (kSplitKeys + 1));
  return std::max(queries, values) + 4 * 64;
}

}  // namespace hopskip
