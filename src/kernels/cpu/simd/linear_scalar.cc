// linear() in portable code: the compiler's generic vectors become whatever the target has.
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only

#include "kernels/cpu/simd/linear_instance.h"

namespace hopskip {
namespace {

struct ScalarLanes {
  using F = float __attribute__((vector_size(64)));
  using I = int32_t __attribute__((vector_size(64)));
  using Words = uint16_t __attribute__((vector_size(64)));
  using Unsigned = uint32_t __attribute__((vector_size(64)));

  static I set1(int32_t x) { return I{} + x; }
  static I load(const std::byte* p) {
    I result;
    std::memcpy(&result, p, sizeof(result));
    return result;
  }
  template <int kShift>
  static I shift_words(I x) {
    return reinterpret_cast<I>(reinterpret_cast<Words>(x) >> kShift);
  }
  static I and_words(I x, I mask) { return x & mask; }
  static I dot_pairs(I acc, I pairs, I x) {
    return acc + (pairs << 16 >> 16) * (x << 16 >> 16) + (pairs >> 16) * (x >> 16);
  }
  static I low_words(I x) { return x & 0xffff; }
  static I high_words(I x) { return reinterpret_cast<I>(reinterpret_cast<Unsigned>(x) >> 16); }

  static F zero() { return F{}; }
  static F set1f(float x) { return F{} + x; }
  static F load(const float* p) {
    F result;
    std::memcpy(&result, p, sizeof(result));
    return result;
  }
  template <typename T>
  static F load(const T* p) {
    F result;
    for (int i = 0; i < 16; ++i) {
      result[i] = static_cast<float>(p[i]);
    }
    return result;
  }
  static F from(I x) { return __builtin_convertvector(x, F); }
  static F mul(F x, F y) { return x * y; }
  static F fma(F x, F y, F z) { return x * y + z; }
  static float sum(F x) {
    float total = 0.0f;
    for (int i = 0; i < 16; ++i) {
      total += x[i];
    }
    return total;
  }
  static void store(float* p, const F& x) { std::memcpy(p, &x, sizeof(x)); }
};

}  // namespace

const LinearKernels& scalar_linear_kernels() { return LinearInstance<ScalarLanes, float>::kTable; }

}  // namespace hopskip
