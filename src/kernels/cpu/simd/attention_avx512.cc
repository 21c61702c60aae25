// Attention with AVX-512 and its bf16 dot product.
#include <immintrin.h>

#include <type_traits>

#include "base/float16.h"
#include "kernels/cpu/simd/attention_instance.h"

namespace hopskip {
namespace {

struct Avx512Lanes {
  using F = __m512;
  using M = __mmask16;

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store_any(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F add(F x, F y) { return _mm512_add_ps(x, y); }
  static F sub(F x, F y) { return _mm512_sub_ps(x, y); }
  static F mul(F x, F y) { return _mm512_mul_ps(x, y); }
  static F div(F x, F y) { return _mm512_div_ps(x, y); }
  static F max(F x, F y) { return _mm512_max_ps(x, y); }
  static F fma(F x, F y, F z) { return _mm512_fmadd_ps(x, y, z); }
  static M less(F x, F y) { return _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ); }
  static F select(M m, F x, F y) { return _mm512_mask_blend_ps(m, y, x); }
  static float reduce_max(F x) { return _mm512_reduce_max_ps(x); }
  static float reduce_add(F x) { return _mm512_reduce_add_ps(x); }

  // 2^x for x < 127: 2^n · p(x − n), n = x rounded; p has the least maximum relative error, 2.8e-6,
  // with p(0) = 1: a thousandth of what rounding the weights to bf16 costs. Zero for −inf. Adding
  // 1.5 · 2^23 leaves n in the low bits. Additions and shifts use other pipes than multiply-adds;
  // vreduceps and vscalefps would block those for two cycles each.
  static F exp2(F x) {
    x = _mm512_max_ps(_mm512_set1_ps(-127.0f), x);
    const F magic = _mm512_set1_ps(12582912.0f);
    const F shifted = _mm512_add_ps(x, magic);
    const F f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, magic));
    F p = _mm512_set1_ps(0.009582852944731712f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055906426161527634f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24024099111557007f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931241750717163f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
  }
  // Any x, error 8.3e-8: 2^⌊x⌋ · p(x − ⌊x⌋).
  static F exp2_precise(F x) {
    constexpr int kReduceToFraction = 1;  // x − ⌊x⌋
    const F f = _mm512_reduce_ps(x, kReduceToFraction);
    F p = _mm512_set1_ps(0.0018671300495043397f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009017030708491802f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05579991266131401f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24016444385051727f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931512951850891f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, x);
  }

  // row_agrees_to_skip, lane by lane.
  static uint32_t rows_agree(F tile_max, F running_max, F threshold) {
    const __mmask16 unseen = _mm512_cmp_ps_mask(tile_max, set1(kMinusInfinity), _CMP_EQ_OQ);
    return unseen | less(tile_max, add(running_max, threshold));
  }

  template <typename Kv>
  static void widen(const uint32_t* units, F* low, F* high) {
    const __m512i u = _mm512_loadu_si512(units);
    if constexpr (std::is_same_v<Kv, bf16>) {
      *low = _mm512_castsi512_ps(_mm512_slli_epi32(u, 16));
      *high = _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32(0xffff0000)));
    } else {
      *low = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(u));
      *high = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(u, 16)));
    }
  }
  // count is a multiple of 16.
  template <typename Kv>
  static void narrow(const float* from, Kv* to, int count) {
    for (int i = 0; i < count; i += kLanes) {
      __m256i half;
      if constexpr (std::is_same_v<Kv, bf16>) {
        half = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(load(from + i)));
      } else {
        half = _mm512_cvtps_ph(load(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), half);
    }
  }
};

// Weights that stay float deserve the better exponential.
struct Avx512FloatLanes : Avx512Lanes {
  static F exp2(F x) { return exp2_precise(x); }
};

// Two-element dot products straight from the cache; q and the weights are rounded to bf16.
struct Bf16Dot {
  using Lanes = Avx512Lanes;
  using F = __m512;
  using Element = bf16;
  static constexpr bool kReadsCache = true;
  static constexpr int kBlock = 16;  // of 32 registers; 16 hide the product's latency

  static constexpr int kPack = 2;
  using Unit = uint32_t;
  using Wide = __m512i;
  static Wide load(const Unit* units) { return _mm512_loadu_si512(units); }
  // g++ 12 does not fold the broadcast into the instruction by itself.
  static F dot(F acc, const Unit& unit, Wide wide) {
    asm("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(acc) : "m"(unit), "v"(wide));
    return acc;
  }
  static void pack_query(const float* q, Unit* units) {
    units[0] = bf16(q[0]).bits | uint32_t{bf16(q[1]).bits} << 16;
  }
  // The sum is of the rounded weights: what is multiplied and what is divided by agree.
  static F store_weights(F a, F b, Unit* units, F sum) {
    // Low half: a's rows, high half: b's; interleaved to one (a, b) unit a row.
    static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                            21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                            11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
    const __m512i pairs = _mm512_permutexvar_epi16(_mm512_loadu_si512(kOrder), halves);
    _mm512_storeu_si512(units, pairs);
    static constexpr uint32_t kOnes = 0x3f803f80;
    return dot(sum, kOnes, pairs);
  }

  using Pair = uint32_t;
  // Opaque, or g++ 12 loads the same vector again for every row.
  static __m512i load_pairs(const uint32_t* units) {
    __m512i wide = _mm512_loadu_si512(units);
    asm("" : "+v"(wide));
    return wide;
  }
  static F dot_pair(F acc, const Pair& pair, __m512i wide) { return dot(acc, pair, wide); }
  static void pack_pairs(const float* q, Pair* pair) { pack_query(q, pair); }
  static F store_pairs(F values, Pair* pairs) {
    const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(pairs), rounded);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
  }
};

constexpr int kAccumulators = 16;

}  // namespace

const AttentionKernels& avx512_attention_kernels(DType dtype) {
  return dtype == DType::kBF16
             ? AttentionInstance<Bf16Dot>::kTable
             : AttentionInstance<FloatDot<Avx512FloatLanes, fp16, kAccumulators>>::kTable;
}

}  // namespace hopskip
