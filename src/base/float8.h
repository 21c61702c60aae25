// FP8 E4M3 (OCP 8-bit floating point, the "FN" form: no infinity, one NaN for each sign).
#ifndef HOPSKIP_BASE_FLOAT8_H_
#define HOPSKIP_BASE_FLOAT8_H_

#include <bit>
#include <cstdint>

namespace hopskip {

inline constexpr float kLargestE4m3 = 448.0f;

// From float to nearest even; what lies beyond ±448, infinity included, becomes ±448, and NaN 0x7f:
// what CUDA's cvt.rn.satfinite.e4m3x2.f32 gives.
struct fp8_e4m3 {
  uint8_t bits = 0;

  fp8_e4m3() = default;
  explicit fp8_e4m3(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const auto sign = static_cast<uint8_t>((u >> 24) & 0x80u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
      bits = 0x7f;
    } else if (magnitude >= std::bit_cast<uint32_t>(kLargestE4m3)) {
      bits = sign | 0x7e;
    } else if (magnitude < 0x3c800000u) {  // below 2^-6: subnormal, in units of 2^-9
      const float units = std::bit_cast<float>(magnitude) * 512.0f;
      // Adding 2^23 leaves the integer nearest to `units`, ties to even, in the low mantissa bits.
      bits = sign | static_cast<uint8_t>(std::bit_cast<uint32_t>(units + 8388608.0f) & 0xffu);
    } else {
      const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
      bits = sign | static_cast<uint8_t>((rounded - 0x3c000000u) >> 20);
    }
  }
  explicit operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
    const uint32_t exponent = (bits >> 3) & 0xfu;
    const uint32_t mantissa = bits & 7u;
    if ((bits & 0x7fu) == 0x7fu) {
      return std::bit_cast<float>(sign | 0x7fc00000u);
    }
    if (exponent == 0) {
      const float magnitude = static_cast<float>(mantissa) * 0.001953125f;  // 2^-9
      return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
    }
    return std::bit_cast<float>(sign | ((exponent + 120u) << 23) | (mantissa << 20));
  }
};

}  // namespace hopskip

#endif  // HOPSKIP_BASE_FLOAT8_H_
