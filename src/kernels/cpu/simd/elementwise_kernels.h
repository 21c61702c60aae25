// Row operations between matrix products, one row a call.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ELEMENTWISE_KERNELS_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ELEMENTWISE_KERNELS_H_

#include <cstdint>

#include "kernels/cpu/simd/level.h"

namespace hopskip {

inline constexpr int64_t kLogitGroup = 64;

struct ElementwiseKernels {
  // y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  // Rotates the first 2 · half values of each of `heads` heads: pairs (i, i + half).
  void (*rope)(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cos,
               const float* sin);
  // The same with pairs (2i, 2i + 1).
  void (*rope_interleaved)(float* x, int64_t heads, int64_t head_dim, int64_t half,
                           const float* cos, const float* sin);
  // out may be gate.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  // out [ceil(n / kLogitGroup)]: the largest of each group, where NaN counts as −inf.
  void (*group_max)(const float* x, int64_t n, float* out);
  // Σ exp(x[i] − top), top ≥ x[i] and finite; NaN where there is one.
  float (*sum_exp)(const float* x, int64_t n, float top);
};

const ElementwiseKernels& elementwise_kernels(SimdLevel level);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ELEMENTWISE_KERNELS_H_
