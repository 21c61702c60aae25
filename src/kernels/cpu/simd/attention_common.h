// What prefill and decode share. Included by files that are compiled for different instruction
// sets: everything is in an unnamed namespace or forced inline, so that no copy leaks into code
// that runs on lesser machines.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_COMMON_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_COMMON_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>

#include "kernels/cpu/simd/attention_kernels.h"

// clang-format moves a bare pragma to column 0.
#define HOPSKIP_UNROLL _Pragma("GCC unroll 16")

namespace hopskip {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// The next `count` elements of scratch, 64-byte aligned.
template <typename T>
T* take(std::byte*& scratch, int64_t count) {
  T* taken = reinterpret_cast<T*>(scratch);
  scratch += (count * sizeof(T) + 63) / 64 * 64;
  return taken;
}

// Kernels keep scores as they come out of the product (after a soft-cap: in natural units) and
// scale them in the exponential's multiply-add.
struct ScoreScale {
  explicit ScoreScale(const AttentionShape& shape)
      : to_log2((shape.softcap > 0.0f ? 1.0f : shape.scale) * std::numbers::log2e_v<float>) {}

  // The threshold in the scores' own units: the rule is the same in any unit.
  float raw_threshold(float threshold_log2) const { return threshold_log2 / to_log2; }

  float to_log2;
};

// cap · tanh(s · scale / cap), tanh(x) = 1 − 2 / (exp(2x) + 1); natural units.
template <typename L>
typename L::F soft_cap(typename L::F scores, float scale, float cap) {
  const float two_x = 2.0f * scale / cap * std::numbers::log2e_v<float>;
  const auto e = L::exp2_precise(L::mul(scores, L::set1(two_x)));
  const auto share = L::div(L::set1(2.0f), L::add(e, L::set1(1.0f)));
  return L::mul(L::set1(cap), L::sub(L::set1(1.0f), share));
}

struct RowResult {
  float factor;  // of the unnormalised output
  float lse;     // natural log
};

// m_log2: the base of the weights; l: their sum, the sink not included.
inline RowResult finish_row(const AttentionShape& shape, int head, float m_log2, float l) {
  float top = m_log2;
  if (shape.sinks != nullptr) {
    const float sink = shape.sinks[head] * std::numbers::log2e_v<float>;
    top = sink > m_log2 ? sink : m_log2;
    l = l * ::exp2f(m_log2 - top) + ::exp2f(sink - top);
  }
  if (!(l > 0.0f)) {
    return {0.0f, kMinusInfinity};
  }
  return {::exp2f(m_log2 - top) / l, (top + ::log2f(l)) * std::numbers::ln2_v<float>};
}

inline void add_counts(SkipCounts& total, const SkipCounts& counts) {
  __atomic_fetch_add(&total.tiles, counts.tiles, __ATOMIC_RELAXED);
  __atomic_fetch_add(&total.skipped, counts.skipped, __ATOMIC_RELAXED);
}

}  // namespace
}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_COMMON_H_
