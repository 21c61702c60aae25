// Attention for any machine: arrays of 16 floats, which the compiler may vectorise as it can.
#include <cmath>

#include "attention/skip_rule.h"
#include "base/float16.h"
#include "kernels/cpu/simd/attention_instance.h"

namespace hopskip {
namespace {

struct ScalarLanes {
  struct F {
    float x[kLanes];
  };
  struct M {
    bool x[kLanes];
  };

  template <typename Op>
  static F map(Op op) {
    F r;
    for (int i = 0; i < kLanes; ++i) {
      r.x[i] = op(i);
    }
    return r;
  }
  static F load(const float* p) {
    return map([&](int i) { return p[i]; });
  }
  static void store(float* p, const F& a) { __builtin_memcpy(p, a.x, sizeof(a.x)); }
  static void store_any(float* p, const F& a) { store(p, a); }
  static F set1(float a) {
    return map([&](int) { return a; });
  }
  static F add(const F& a, const F& b) {
    return map([&](int i) { return a.x[i] + b.x[i]; });
  }
  static F sub(const F& a, const F& b) {
    return map([&](int i) { return a.x[i] - b.x[i]; });
  }
  static F mul(const F& a, const F& b) {
    return map([&](int i) { return a.x[i] * b.x[i]; });
  }
  static F div(const F& a, const F& b) {
    return map([&](int i) { return a.x[i] / b.x[i]; });
  }
  static F fma(const F& a, const F& b, const F& c) {
    return map([&](int i) { return a.x[i] * b.x[i] + c.x[i]; });
  }
  static F max(const F& a, const F& b) {
    return map([&](int i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; });
  }
  static M less(const F& a, const F& b) {
    M r;
    for (int i = 0; i < kLanes; ++i) {
      r.x[i] = a.x[i] < b.x[i];
    }
    return r;
  }
  static F select(const M& m, const F& a, const F& b) {
    return map([&](int i) { return m.x[i] ? a.x[i] : b.x[i]; });
  }
  static F exp2(const F& a) {
    return map([&](int i) { return ::exp2f(a.x[i]); });
  }
  static F exp2_precise(const F& a) { return exp2(a); }
  static float reduce_max(const F& a) {
    float r = a.x[0];
    for (float x : a.x) {
      r = x > r ? x : r;
    }
    return r;
  }
  static float reduce_add(const F& a) {
    float r = 0.0f;
    for (float x : a.x) {
      r += x;
    }
    return r;
  }
  static uint32_t rows_agree(const F& tile_max, const F& running_max, const F& threshold) {
    uint32_t agree = 0;
    for (int i = 0; i < kLanes; ++i) {
      agree |= uint32_t{row_agrees_to_skip(tile_max.x[i], running_max.x[i], threshold.x[i])} << i;
    }
    return agree;
  }
  template <typename Kv>
  static void widen(const uint32_t* units, F* low, F* high) {
    for (int i = 0; i < kLanes; ++i) {
      Kv first;
      Kv second;
      first.bits = static_cast<uint16_t>(units[i]);
      second.bits = static_cast<uint16_t>(units[i] >> 16);
      low->x[i] = static_cast<float>(first);
      high->x[i] = static_cast<float>(second);
    }
  }
  template <typename Kv>
  static void narrow(const float* from, Kv* to, int count) {
    for (int i = 0; i < count; ++i) {
      to[i] = Kv(from[i]);
    }
  }
};

// Two accumulators of 16 floats are eight of the sixteen vector registers that x86-64 always has.
constexpr int kAccumulators = 2;

}  // namespace

const AttentionKernels& scalar_attention_kernels(DType dtype) {
  return dtype == DType::kBF16
             ? AttentionInstance<FloatDot<ScalarLanes, bf16, kAccumulators>>::kTable
             : AttentionInstance<FloatDot<ScalarLanes, fp16, kAccumulators>>::kTable;
}

}  // namespace hopskip
