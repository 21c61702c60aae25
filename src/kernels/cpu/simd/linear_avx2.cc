// linear() with AVX2, FMA and F16C: 16 lanes are two registers.
#include <immintrin.h>

#include "kernels/cpu/simd/linear_instance.h"

namespace hopskip {
namespace {

struct Avx2Lanes {
  struct F {
    __m256 a;
    __m256 b;
  };
  struct I {
    __m256i a;
    __m256i b;
  };

  static I set1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static I load(const std::byte* p) {
    const auto* half = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(half), _mm256_loadu_si256(half + 1)};
  }
  template <int kShift>
  static I shift_words(I x) {
    return {_mm256_srli_epi16(x.a, kShift), _mm256_srli_epi16(x.b, kShift)};
  }
  static I and_words(I x, I mask) {
    return {_mm256_and_si256(x.a, mask.a), _mm256_and_si256(x.b, mask.b)};
  }
  static I dot_pairs(I acc, I pairs, I x) {
    return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(pairs.a, x.a)),
            _mm256_add_epi32(acc.b, _mm256_madd_epi16(pairs.b, x.b))};
  }
  static I low_words(I x) { return and_words(x, set1(0xffff)); }
  static I high_words(I x) { return {_mm256_srli_epi32(x.a, 16), _mm256_srli_epi32(x.b, 16)}; }

  static F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F set1f(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static __m128i load_half(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
  }
  static F load(const fp16* p) {
    return {_mm256_cvtph_ps(load_half(p)), _mm256_cvtph_ps(load_half(p + 8))};
  }
  static __m256 widen(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static F load(const bf16* p) { return {widen(load_half(p)), widen(load_half(p + 8))}; }
  static F from(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
  static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F fma(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static float sum(F x) {
    const __m256 s = _mm256_add_ps(x.a, x.b);
    __m128 r = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    r = _mm_add_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_add_ss(r, _mm_movehdup_ps(r)));
  }
  static void store(float* p, F x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
  }
};

}  // namespace

const LinearKernels& avx2_linear_kernels() { return LinearInstance<Avx2Lanes, float>::kTable; }

}  // namespace hopskip
