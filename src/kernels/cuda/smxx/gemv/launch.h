// Products of few rows with weights, at the speed at which these can be read.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_GEMV_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_GEMV_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

inline constexpr int kGemvMaxTokens = 32;
inline constexpr int kGemvMaxTerms = 3;

// y = x · wᵀ (+ bias), or y += … with accumulate.
struct GemvTerm {
  const void* w;      // [out][in] BF16, on a line of 16 bytes
  const float* bias;  // [out] or null
  void* y;            // [tokens][out] BF16 or F32, rows y_stride elements apart
  int64_t y_stride;
  int32_t out;
  bool y_is_f32;
  bool accumulate;
};

struct GemvArgs {
  const void* x;  // [tokens][in] BF16, rows x_stride elements apart, on lines of 16 bytes
  int64_t x_stride;
  int32_t tokens;  // ≤ kGemvMaxTokens
  int32_t in;      // a multiple of 8
  // RMS norm of x on its way, [in] on a line of 16 bytes: x is F32 then, tokens and in are such
  // that gemv_takes_norm(). Null: none.
  const float* norm;
  float eps;
  int32_t num_terms;
  // The first term's y = silu(x · w[0]ᵀ + bias[0]) · (x · w[1]ᵀ + bias[1]), of two terms of equal
  // shape; y of the second is not written.
  bool gated;
  GemvTerm terms[kGemvMaxTerms];
};

// Whether a norm fits into shared memory with two CTAs on a multiprocessor.
inline bool gemv_takes_norm(int64_t tokens, int64_t in) {
  return tokens <= 8 && tokens * (in + 32) * 2 <= 72 * 1024;
}

void launch_gemv(const GemvArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_GEMV_LAUNCH_H_
