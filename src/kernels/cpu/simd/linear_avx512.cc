// linear() with AVX-512 BW and BF16.
#include <immintrin.h>

#include "kernels/cpu/simd/linear_instance.h"

namespace hopskip {
namespace {

struct Avx512Lanes {
  using F = __m512;
  using I = __m512i;

  static I set1(int32_t x) { return _mm512_set1_epi32(x); }
  static I load(const std::byte* p) { return _mm512_loadu_si512(p); }
  template <int kShift>
  static I shift_words(I x) {
    return _mm512_srli_epi16(x, kShift);
  }
  static I and_words(I x, I mask) { return _mm512_and_si512(x, mask); }
  static I dot_pairs(I acc, I pairs, I x) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, x));
  }
  static I low_words(I x) { return _mm512_and_si512(x, _mm512_set1_epi32(0xffff)); }
  static I high_words(I x) { return _mm512_srli_epi32(x, 16); }

  static F zero() { return _mm512_setzero_ps(); }
  static F set1f(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const fp16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F load(const bf16* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  static F from(I x) { return _mm512_cvtepi32_ps(x); }
  static F mul(F x, F y) { return _mm512_mul_ps(x, y); }
  static F fma(F x, F y, F z) { return _mm512_fmadd_ps(x, y, z); }
  static float sum(F x) { return _mm512_reduce_add_ps(x); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(bf16* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x));
  }
};

}  // namespace

const LinearKernels& avx512_linear_kernels() { return LinearInstance<Avx512Lanes, bf16>::kTable; }

}  // namespace hopskip
