// linear() in portable C++.
#include "kernels/cpu/simd/linear_instance.h"

namespace hopskip {
namespace {

struct ScalarLanes {
  struct F {
    float x[16];
  };
  struct I {
    uint32_t x[16];
  };

  template <typename Result, typename Op>
  static Result each(Op op) {
    Result result;
    for (int i = 0; i < 16; ++i) {
      result.x[i] = op(i);
    }
    return result;
  }
  static int32_t low(uint32_t x) { return static_cast<int16_t>(x); }
  static int32_t high(uint32_t x) { return static_cast<int16_t>(x >> 16); }

  static I set1(int32_t x) {
    return each<I>([&](int) { return static_cast<uint32_t>(x); });
  }
  static I load(const std::byte* p) {
    I result;
    std::memcpy(&result, p, sizeof(result));
    return result;
  }
  template <int kShift>
  static I shift_words(I x) {
    return each<I>(
        [&](int i) { return (x.x[i] >> kShift & 0xffff0000u) | (x.x[i] & 0xffffu) >> kShift; });
  }
  static I and_words(I x, I mask) {
    return each<I>([&](int i) { return x.x[i] & mask.x[i]; });
  }
  static I dot_pairs(I acc, I pairs, I x) {
    return each<I>([&](int i) {
      return acc.x[i] +
             static_cast<uint32_t>(low(pairs.x[i]) * low(x.x[i]) + high(pairs.x[i]) * high(x.x[i]));
    });
  }
  static I low_words(I x) {
    return each<I>([&](int i) { return x.x[i] & 0xffffu; });
  }
  static I high_words(I x) {
    return each<I>([&](int i) { return x.x[i] >> 16; });
  }

  static F zero() { return set1f(0.0f); }
  static F set1f(float x) {
    return each<F>([&](int) { return x; });
  }
  template <typename T>
  static F load(const T* p) {
    return each<F>([&](int i) { return static_cast<float>(p[i]); });
  }
  static F from(I x) {
    return each<F>([&](int i) { return static_cast<float>(static_cast<int32_t>(x.x[i])); });
  }
  static F mul(F x, F y) {
    return each<F>([&](int i) { return x.x[i] * y.x[i]; });
  }
  static F fma(F x, F y, F z) {
    return each<F>([&](int i) { return x.x[i] * y.x[i] + z.x[i]; });
  }
  static float sum(F x) {
    float total = 0.0f;
    for (float value : x.x) {
      total += value;
    }
    return total;
  }
  static void store(float* p, F x) { std::memcpy(p, x.x, sizeof(x.x)); }
};

}  // namespace

const LinearKernels& scalar_linear_kernels() { return LinearInstance<ScalarLanes, float>::kTable; }

}  // namespace hopskip
