// LinearKernels of one instruction set. Lanes provides, for 16 lanes:
//   I  int32 lanes, also seen as 32 words:  zero, set1, load, shift_words<n>, and_words,
//      dot_pairs(acc, pairs, x) = acc + low · low + high · high,  low_words, high_words
//   F  float lanes:  zero, set1, load, load<T>, fma, from(I), store, store_as(T*), sum
#ifndef HOPSKIP_KERNELS_CPU_SIMD_LINEAR_INSTANCE_H_
#define HOPSKIP_KERNELS_CPU_SIMD_LINEAR_INSTANCE_H_

#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/float16.h"
#include "kernels/cpu/simd/linear_kernels.h"

namespace hopskip {
namespace {

template <typename Lanes, typename Gemm>
struct LinearInstance {
  using F = typename Lanes::F;
  using I = typename Lanes::I;

  static void quantize(const float* x, int64_t cols, int16_t* q, float* scale, int32_t* sum) {
    constexpr int kHalf = kActivationBlock / 2;
    // Adding 1.5 · 2^23 leaves the nearest integer in the low bits.
    constexpr float kRound = 12582912.0f;
    for (int64_t block = 0; block < cols / kActivationBlock; ++block) {
      const float* from = x + block * kActivationBlock;
      float largest = 0.0f;
      for (int i = 0; i < kActivationBlock; ++i) {
        largest = std::fabs(from[i]) > largest ? std::fabs(from[i]) : largest;
      }
      const float inverse = largest > 0.0f ? 32767.0f / largest : 0.0f;
      scale[block] = largest / 32767.0f;
      for (int half = 0; half < 2; ++half) {
        int32_t total = 0;
        for (int i = half * kHalf; i < (half + 1) * kHalf; ++i) {
          const int32_t value =
              std::bit_cast<int32_t>(from[i] * inverse + kRound) - std::bit_cast<int32_t>(kRound);
          q[block * kActivationBlock + i] = static_cast<int16_t>(value);
          total += value;
        }
        sum[2 * block + half] = total;
      }
    }
  }

  template <int kBits, int kGroup, bool kHasMin, int kTokens>
  static void dot_tokens(const PackedFormat& format, const std::byte* panel, const QuantizedRows& x,
                         int64_t token, float* out) {
    constexpr int kPerWord = 16 / kBits;
    constexpr int kVectors = kGroup / (2 * kPerWord);
    const I mask = Lanes::set1(((1 << kBits) - 1) * 0x10001);
    const int64_t groups = x.cols / kGroup;
    const int64_t blocks = x.cols / kActivationBlock;
    F total[kTokens];
    for (F& t : total) {
      t = Lanes::zero();
    }
    for (int64_t g = 0; g < groups; ++g, panel += format.group_bytes()) {
      const int64_t block = g * kGroup / kActivationBlock;
      int32_t sum[kTokens];
      I acc[kTokens];
      for (int t = 0; t < kTokens; ++t) {
        const int32_t* sums = x.sum + (token + t) * 2 * blocks;
        sum[t] = kGroup == 16 ? sums[g] : sums[2 * g] + sums[2 * g + 1];
        acc[t] = Lanes::set1(-format.zero * sum[t]);
      }
      const auto multiply = [&]<int kShift>(I levels, int64_t pair,
                                            std::integral_constant<int, kShift>) {
        const I pairs = Lanes::and_words(Lanes::template shift_words<kShift>(levels), mask);
        for (int t = 0; t < kTokens; ++t) {
          int32_t two;
          std::memcpy(&two, x.q + (token + t) * x.cols + g * kGroup + 2 * pair, sizeof(two));
          acc[t] = Lanes::dot_pairs(acc[t], pairs, Lanes::set1(two));
        }
      };
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        const I levels = Lanes::load(panel + i * 64);
        multiply(levels, i * kPerWord, std::integral_constant<int, 0>());
        multiply(levels, i * kPerWord + 1, std::integral_constant<int, kBits>());
        if constexpr (kPerWord == 4) {
          multiply(levels, i * kPerWord + 2, std::integral_constant<int, 2 * kBits>());
          multiply(levels, i * kPerWord + 3, std::integral_constant<int, 3 * kBits>());
        }
      }
      const auto* scales = reinterpret_cast<const fp16*>(panel + kVectors * 64);
      const F d = Lanes::load(scales);
      for (int t = 0; t < kTokens; ++t) {
        const float scale = x.scale[(token + t) * blocks + block];
        total[t] = Lanes::fma(Lanes::from(acc[t]), Lanes::mul(d, Lanes::set1f(scale)), total[t]);
        if constexpr (kHasMin) {
          total[t] = Lanes::fma(Lanes::load(scales + kPanelRows),
                                Lanes::set1f(scale * static_cast<float>(sum[t])), total[t]);
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      Lanes::store(out + t * kPanelRows, total[t]);
    }
  }

  template <int kBits, int kGroup, bool kHasMin>
  static void dot(const PackedFormat& format, const std::byte* panel, const QuantizedRows& x,
                  int64_t token, int tokens, float* out) {
    switch (tokens) {
      case 1:
        return dot_tokens<kBits, kGroup, kHasMin, 1>(format, panel, x, token, out);
      case 2:
        return dot_tokens<kBits, kGroup, kHasMin, 2>(format, panel, x, token, out);
      case 3:
        return dot_tokens<kBits, kGroup, kHasMin, 3>(format, panel, x, token, out);
      default:
        return dot_tokens<kBits, kGroup, kHasMin, 4>(format, panel, x, token, out);
    }
  }

  static LinearKernels::PanelDot panel_dot(const PackedFormat& format) {
    if (format.bits == 4) {
      return format.has_min ? dot<4, 32, true> : dot<4, 32, false>;
    }
    if (format.group == 16) {
      return dot<8, 16, false>;
    }
    return format.has_min ? dot<8, 32, true> : dot<8, 32, false>;
  }

  template <typename T>
  static void plain_dot_as(const T* w, const float* x, int64_t stride, int64_t cols, int tokens,
                           float* out) {
    const int64_t whole = cols / 16 * 16;
    F total[kMaxDotTokens];
    for (F& t : total) {
      t = Lanes::zero();
    }
    for (int64_t i = 0; i < whole; i += 16) {
      const F values = Lanes::load(w + i);
      for (int t = 0; t < tokens; ++t) {
        total[t] = Lanes::fma(values, Lanes::load(x + t * stride + i), total[t]);
      }
    }
    for (int t = 0; t < tokens; ++t) {
      out[t] = Lanes::sum(total[t]);
      for (int64_t i = whole; i < cols; ++i) {
        out[t] += static_cast<float>(w[i]) * x[t * stride + i];
      }
    }
  }
  static void plain_dot(DType dtype, const void* w, const float* x, int64_t stride, int64_t cols,
                        int tokens, float* out) {
    switch (dtype) {
      case DType::kBF16:
        return plain_dot_as(static_cast<const bf16*>(w), x, stride, cols, tokens, out);
      case DType::kF16:
        return plain_dot_as(static_cast<const fp16*>(w), x, stride, cols, tokens, out);
      default:
        return plain_dot_as(static_cast<const float*>(w), x, stride, cols, tokens, out);
    }
  }

  template <int kBits>
  static void unpack(const PackedFormat& format, const std::byte* panel, int64_t cols, Gemm* out,
                     int64_t ld) {
    constexpr int kPerWord = 16 / kBits;
    const I mask = Lanes::set1(((1 << kBits) - 1) * 0x10001);
    for (int64_t g = 0; g < cols / format.group; ++g, panel += format.group_bytes()) {
      const auto* scales = reinterpret_cast<const fp16*>(panel + format.level_bytes());
      const F d = Lanes::load(scales);
      const F min = Lanes::fma(d, Lanes::set1f(static_cast<float>(-format.zero)),
                               format.has_min ? Lanes::load(scales + kPanelRows) : Lanes::zero());
      const auto write = [&]<int kShift>(I levels, std::integral_constant<int, kShift>) {
        const I pairs = Lanes::and_words(Lanes::template shift_words<kShift>(levels), mask);
        Lanes::store(out, Lanes::fma(Lanes::from(Lanes::low_words(pairs)), d, min));
        Lanes::store(out + ld, Lanes::fma(Lanes::from(Lanes::high_words(pairs)), d, min));
        out += 2 * ld;
      };
      for (int i = 0; i < format.group / (2 * kPerWord); ++i) {
        const I levels = Lanes::load(panel + i * 64);
        write(levels, std::integral_constant<int, 0>());
        write(levels, std::integral_constant<int, kBits>());
        if constexpr (kPerWord == 4) {
          write(levels, std::integral_constant<int, 2 * kBits>());
          write(levels, std::integral_constant<int, 3 * kBits>());
        }
      }
    }
  }
  static void unpack_panel(const PackedFormat& format, const std::byte* panel, int64_t cols,
                           void* out, int64_t ld) {
    (format.bits == 4 ? unpack<4> : unpack<8>)(format, panel, cols, static_cast<Gemm*>(out), ld);
  }

  template <typename T>
  static void convert_from(const T* src, int64_t n, Gemm* out) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
      Lanes::store(out + i, Lanes::load(src + i));
    }
    for (; i < n; ++i) {
      out[i] = static_cast<Gemm>(static_cast<float>(src[i]));
    }
  }
  static void convert(DType from, const void* src, int64_t n, void* out) {
    switch (from) {
      case DType::kBF16:
        return convert_from(static_cast<const bf16*>(src), n, static_cast<Gemm*>(out));
      case DType::kF16:
        return convert_from(static_cast<const fp16*>(src), n, static_cast<Gemm*>(out));
      default:
        return convert_from(static_cast<const float*>(src), n, static_cast<Gemm*>(out));
    }
  }

  static constexpr LinearKernels kTable{
      quantize,     panel_dot, plain_dot,
      unpack_panel, convert,   std::is_same_v<Gemm, bf16> ? DType::kBF16 : DType::kF32};
};

}  // namespace
}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_LINEAR_INSTANCE_H_
