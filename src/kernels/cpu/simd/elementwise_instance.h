// ElementwiseKernels as plain loops: each file that includes this is compiled for its instruction
// set, and the compiler makes vectors of them.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ELEMENTWISE_INSTANCE_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ELEMENTWISE_INSTANCE_H_

#include <bit>
#include <cmath>

#include "kernels/cpu/simd/elementwise_kernels.h"

namespace hopskip {
namespace {

void rms_norm_row(const float* x, const float* weight, float eps, int64_t n, float* y) {
  constexpr int kSums = 16;  // independent sums, as floats may not be reordered
  float sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      sums[j] += x[i + j] * x[i + j];
    }
  }
  double sum = 0.0;
  for (; i < n; ++i) {
    sum += double{x[i]} * double{x[i]};
  }
  for (float s : sums) {
    sum += double{s};
  }
  const auto inverse = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(n) + eps));
  for (i = 0; i < n; ++i) {
    y[i] = x[i] * inverse * weight[i];
  }
}

void rope_row(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cos,
              const float* sin) {
  for (int64_t h = 0; h < heads; ++h, x += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[i + half];
      x[i] = a * cos[i] - b * sin[i];
      x[i + half] = b * cos[i] + a * sin[i];
    }
  }
}

void rope_interleaved_row(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cos,
                          const float* sin) {
  for (int64_t h = 0; h < heads; ++h, x += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[2 * i];
      const float b = x[2 * i + 1];
      x[2 * i] = a * cos[i] - b * sin[i];
      x[2 * i + 1] = b * cos[i] + a * sin[i];
    }
  }
}

// e^x within 2 units in the last place for |x| ≤ 87, where it is clamped: e^x = 2^k · e^r with
// k = round(x / ln 2), r = x − k · ln 2 in two steps, and e^r by its Taylor series up to r^7.
inline float exp_near(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23 leaves the nearest integer in the low bits
  x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
  const float shifted = x * 1.44269504f + kRound;
  const float k = shifted - kRound;
  const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) << 23;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + exponent);
}

void silu_mul_row(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = gate[i] / (1.0f + exp_near(-gate[i])) * up[i];
  }
}

void group_max_row(const float* x, int64_t n, float* out) {
  constexpr int kLanes = 16;
  constexpr float kMinusInfinity = -__builtin_inff();
  for (int64_t first = 0; first < n; first += kLogitGroup) {
    float best[kLanes];
    for (float& value : best) {
      value = kMinusInfinity;
    }
    if (first + kLogitGroup <= n) {
      for (int64_t i = first; i < first + kLogitGroup; i += kLanes) {
        for (int j = 0; j < kLanes; ++j) {
          best[j] = x[i + j] > best[j] ? x[i + j] : best[j];  // a NaN is not
        }
      }
    } else {
      for (int64_t i = first; i < n; ++i) {
        best[0] = x[i] > best[0] ? x[i] : best[0];
      }
    }
    float largest = kMinusInfinity;
    for (float value : best) {
      largest = value > largest ? value : largest;
    }
    out[first / kLogitGroup] = largest;
  }
}

// exp_near() of values up to 0, but 0 far down, where a million terms are below 1e-32; NaN stays.
inline float exp_of_logit(float x) {
  const float value = exp_near(x);
  return x >= -87.0f ? value : x < -87.0f ? 0.0f : x;
}

float sum_exp_row(const float* x, int64_t n, float top) {
  constexpr int kSums = 16;
  constexpr int64_t kBlock = 4096;  // floats add up so many terms at most, doubles the rest
  double total = 0.0;
  int64_t i = 0;
  while (i + kSums <= n) {
    const int64_t end = i + kBlock < n ? i + kBlock : n;
    float sums[kSums] = {};
    for (; i + kSums <= end; i += kSums) {
      for (int j = 0; j < kSums; ++j) {
        sums[j] += exp_of_logit(x[i + j] - top);
      }
    }
    for (float sum : sums) {
      total += double{sum};
    }
  }
  for (; i < n; ++i) {
    total += double{exp_of_logit(x[i] - top)};
  }
  return static_cast<float>(total);
}

constexpr ElementwiseKernels kElementwise{rms_norm_row, rope_row,      rope_interleaved_row,
                                          silu_mul_row, group_max_row, sum_exp_row};

}  // namespace
}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ELEMENTWISE_INSTANCE_H_
