// The largest logits of each row, in order, and the row's sum of exponentials.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_TOP_CANDIDATES_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_TOP_CANDIDATES_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"
#include "kernels/candidates.h"

namespace hopskip::cuda {

inline constexpr int32_t kMostCandidateVocab = 1 << 20;

struct TopCandidatesArgs {
  const float* logits;  // [rows][vocab], rows `stride` elements apart
  // [rows][2 · (count + 1)], on lines of 8 bytes: {int32 count, Σ exp(x − largest)}, then {int32
  // id, logit}, the largest first and of equal ones the lower id. NaN is ordered as −inf, and makes
  // the sum NaN, as an infinite largest logit does; −0 comes back as 0.
  float* out;
  void* scratch;  // top_candidates_scratch_bytes(rows, vocab), on lines of 8 bytes
  int64_t rows;
  int64_t stride;
  int32_t vocab;  // 1 … kMostCandidateVocab
  int32_t count;  // 1 … min(kMostCandidates, vocab)
};

int64_t top_candidates_scratch_bytes(int64_t rows, int32_t vocab);

void launch_top_candidates(const TopCandidatesArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_TOP_CANDIDATES_LAUNCH_H_
