// Attention with AVX2, FMA and F16C: 16 lanes are two registers.
#include <immintrin.h>

#include <type_traits>

#include "base/float16.h"
#include "kernels/cpu/simd/attention_instance.h"

namespace hopskip {
namespace {

struct Avx2Lanes {
  struct F {
    __m256 a;
    __m256 b;
  };
  using M = F;

  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void store(float* p, F x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
  }
  static void store_any(float* p, F x) { store(p, x); }
  static F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static F fma(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static M less(F x, F y) {
    return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
  }
  static F select(M m, F x, F y) {
    return {_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
  }

  // 2^x = 2^⌊x⌋ · p(x − ⌊x⌋); coefficients: least maximum relative error 8.3e-8 with p(0) = 1.
  // Below 2^−126 the result is (nearly) zero; exactly zero for −inf.
  static __m256 exp2_half(__m256 x) {
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-127.0f)), _mm256_set1_ps(127.999f));
    const __m256 floor = _mm256_floor_ps(x);
    const __m256 f = _mm256_sub_ps(x, floor);
    __m256 p = _mm256_set1_ps(0.0018671300495043397f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.009017030708491802f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.05579991266131401f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.24016444385051727f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.6931512951850891f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(floor), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  }
  static F exp2(F x) { return {exp2_half(x.a), exp2_half(x.b)}; }
  static F exp2_precise(F x) { return exp2(x); }

  static float reduce_max(F x) {
    const __m256 m = _mm256_max_ps(x.a, x.b);
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_max_ss(r, _mm_movehdup_ps(r)));
  }
  static float reduce_add(F x) {
    const __m256 m = _mm256_add_ps(x.a, x.b);
    __m128 r = _mm_add_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    r = _mm_add_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_add_ss(r, _mm_movehdup_ps(r)));
  }
  // row_agrees_to_skip, lane by lane.
  static uint32_t rows_agree(F tile_max, F running_max, F threshold) {
    const F bound = add(running_max, threshold);
    const __m256 none = _mm256_set1_ps(kMinusInfinity);
    const __m256 a = _mm256_or_ps(_mm256_cmp_ps(tile_max.a, none, _CMP_EQ_OQ),
                                  _mm256_cmp_ps(tile_max.a, bound.a, _CMP_LT_OQ));
    const __m256 b = _mm256_or_ps(_mm256_cmp_ps(tile_max.b, none, _CMP_EQ_OQ),
                                  _mm256_cmp_ps(tile_max.b, bound.b, _CMP_LT_OQ));
    return static_cast<uint32_t>(_mm256_movemask_ps(a) | _mm256_movemask_ps(b) << 8);
  }

  template <typename Kv>
  static void widen_half(const uint32_t* units, __m256* low, __m256* high) {
    const __m256i u = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(units));
    if constexpr (std::is_same_v<Kv, bf16>) {
      *low = _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
      *high = _mm256_castsi256_ps(_mm256_and_si256(u, _mm256_set1_epi32(0xffff0000)));
    } else {
      // Even and odd halves of each 128-bit lane, then both lanes side by side.
      const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
                                             0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
      const __m256i split =
          _mm256_permute4x64_epi64(_mm256_shuffle_epi8(u, order), _MM_SHUFFLE(3, 1, 2, 0));
      *low = _mm256_cvtph_ps(_mm256_castsi256_si128(split));
      *high = _mm256_cvtph_ps(_mm256_extracti128_si256(split, 1));
    }
  }
  template <typename Kv>
  static void widen(const uint32_t* units, F* low, F* high) {
    widen_half<Kv>(units, &low->a, &high->a);
    widen_half<Kv>(units + 8, &low->b, &high->b);
  }
  template <typename Kv>
  static void narrow(const float* from, Kv* to, int count) {
    for (int i = 0; i < count; ++i) {
      to[i] = Kv(from[i]);
    }
  }
};

// Four accumulators of 16 lanes are eight of sixteen registers and cover the latency of the FMA.
constexpr int kAccumulators = 4;

}  // namespace

const AttentionKernels& avx2_attention_kernels(DType dtype) {
  return dtype == DType::kBF16
             ? AttentionInstance<FloatDot<Avx2Lanes, bf16, kAccumulators>>::kTable
             : AttentionInstance<FloatDot<Avx2Lanes, fp16, kAccumulators>>::kTable;
}

}  // namespace hopskip
