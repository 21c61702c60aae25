// Dot products on float lanes over a 16-bit cache, for instruction sets (or dtypes) without a
// two-element dot product: a span of K and V is widened to float once a task.
//
// A Dot policy says how attention multiplies:
//   Unit, kPack     one operand of a prefill product: kPack elements
//   Wide            the same as a vector of 16
//   Pair            one operand of a decode product: two elements
//   kBlock          accumulators of 16 lanes that fit the registers
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DOT_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DOT_H_

#include <cstdint>

#include "kernels/cpu/simd/attention_kernels.h"

namespace hopskip {

// Kv: a type of base/float16.h. Lanes::widen<Kv>(units, &low, &high) splits 16 units of two.
template <typename L, typename Kv, int kAccumulators>
struct FloatDot {
  using Lanes = L;
  using F = typename L::F;
  using Element = Kv;
  static constexpr bool kReadsCache = false;
  static constexpr int kBlock = kAccumulators;

  static constexpr int kPack = 1;
  using Unit = float;
  using Wide = F;
  static Wide load(const Unit* units) { return L::load(units); }
  static F dot(F acc, const Unit& unit, Wide wide) { return L::fma(L::set1(unit), wide, acc); }
  static void pack_query(const float* q, Unit* units) { units[0] = q[0]; }
  // Stores the weights of two keys, [2 / kPack][16 rows], and adds them to `sum`.
  static F store_weights(F a, F b, Unit* units, F sum) {
    L::store(units, a);
    L::store(units + kLanes, b);
    return L::add(sum, L::add(a, b));
  }
  // K slice to [head_dim][16 keys], V slice to [16 keys][head_dim].
  static void widen_slices(const std::byte* k, const std::byte* v, int head_dim, Unit* wide_k,
                           Unit* wide_v) {
    const auto* k_units = reinterpret_cast<const uint32_t*>(k);
    const auto* v_units = reinterpret_cast<const uint32_t*>(v);
    F low;
    F high;
    for (int i = 0; i < head_dim / 2; ++i) {
      L::template widen<Kv>(k_units + i * kSliceKeys, &low, &high);
      L::store(wide_k + 2 * i * kSliceKeys, low);
      L::store(wide_k + (2 * i + 1) * kSliceKeys, high);
    }
    for (int pair = 0; pair < kSliceKeys / 2; ++pair) {
      for (int d = 0; d < head_dim; d += kLanes) {
        L::template widen<Kv>(v_units + pair * head_dim + d, &low, &high);
        L::store(wide_v + 2 * pair * head_dim + d, low);
        L::store(wide_v + (2 * pair + 1) * head_dim + d, high);
      }
    }
  }

  struct Pair {
    float low;
    float high;
  };
  struct WidePair {
    F low;
    F high;
  };
  static WidePair load_pairs(const uint32_t* units) {
    WidePair wide;
    L::template widen<Kv>(units, &wide.low, &wide.high);
    return wide;
  }
  static F dot_pair(F acc, const Pair& pair, const WidePair& wide) {
    return L::fma(L::set1(pair.high), wide.high, L::fma(L::set1(pair.low), wide.low, acc));
  }
  static void pack_pairs(const float* q, Pair* pair) { *pair = {q[0], q[1]}; }
  // Stores 16 consecutive values as eight pairs and returns them as they were stored.
  static F store_pairs(F values, Pair* pairs) {
    L::store(&pairs->low, values);
    return values;
  }
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_DOT_H_
