// Two-byte floating-point scalars. Conversions from float round to nearest even; NaN stays NaN.
#ifndef HOPSKIP_BASE_FLOAT16_H_
#define HOPSKIP_BASE_FLOAT16_H_

#include <bit>
#include <cstdint>

namespace hopskip {

struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    bits = (u & 0x7fffffffu) > 0x7f800000u
               ? static_cast<uint16_t>((u >> 16) | 0x40u)
               : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

struct fp16 {
  uint16_t bits = 0;

  fp16() = default;
  explicit fp16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
      bits = sign | 0x7e00u;
    } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
      bits = sign | 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in units of 2^-24
      const float units = std::bit_cast<float>(magnitude) * 16777216.0f;
      // Adding 2^23 leaves the integer nearest to `units`, ties to even, in the low mantissa bits.
      bits = sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(units + 8388608.0f) & 0xffffu);
    } else {
      const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
      bits = sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
    }
  }
  explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t mantissa = bits & 0x3ffu;
    if (exponent == 0) {
      const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;  // 2^-24
      return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
    }
    const uint32_t biased = exponent == 31 ? 255u : exponent + 112u;
    return std::bit_cast<float>(sign | (biased << 23) | (mantissa << 13));
  }
};

}  // namespace hopskip

#endif  // HOPSKIP_BASE_FLOAT16_H_
