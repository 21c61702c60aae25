// The blocks of GGUF's quantised tensors, byte for byte (source: ggml-common.h of the ggml
// project). All multi-byte fields are little-endian; d, m and dmin are IEEE half precision.
#ifndef HOPSKIP_TENSOR_QUANT_BLOCKS_H_
#define HOPSKIP_TENSOR_QUANT_BLOCKS_H_

#include <cstdint>

#include "base/float16.h"

namespace hopskip {

// value[i] = d · qs[i]
struct BlockQ8_0 {
  static constexpr int kElements = 32;
  fp16 d;
  int8_t qs[32];
};

// value[i] = d · (nibble(i) − 8). Byte j holds element j in its low and j + 16 in its high nibble.
struct BlockQ4_0 {
  static constexpr int kElements = 32;
  fp16 d;
  uint8_t qs[16];
};

// value[i] = d · nibble(i) + m, nibbles as in Q4_0.
struct BlockQ4_1 {
  static constexpr int kElements = 32;
  fp16 d;
  fp16 m;
  uint8_t qs[16];
};

// Eight groups of 32: value = d · scale[g] · q − dmin · min[g]. `scales` packs eight 6-bit scales
// and eight 6-bit minima (see k_scale_min). Byte 32 c + j of qs holds element j of group 2c in its
// low and element j of group 2c + 1 in its high nibble.
struct BlockQ4_K {
  static constexpr int kElements = 256;
  fp16 d;
  fp16 dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};

// As Q4_K with a fifth bit: bit g of qh[j] is the high bit of element j of group g.
struct BlockQ5_K {
  static constexpr int kElements = 256;
  fp16 d;
  fp16 dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};

// Sixteen groups of 16: value = d · scales[g] · (q − 32). For half h of 128 elements and j < 32, ql
// holds the low nibbles of elements j, 32 + j (low nibbles of ql[64 h + j], ql[64 h + 32 + j]) and
// 64 + j, 96 + j (their high nibbles); qh[32 h + j] holds the upper two bits of the four, lowest
// first.
struct BlockQ6_K {
  static constexpr int kElements = 256;
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  fp16 d;
};

static_assert(sizeof(BlockQ8_0) == 34 && alignof(BlockQ8_0) == 2);
static_assert(sizeof(BlockQ4_0) == 18 && alignof(BlockQ4_0) == 2);
static_assert(sizeof(BlockQ4_1) == 20 && alignof(BlockQ4_1) == 2);
static_assert(sizeof(BlockQ4_K) == 144 && alignof(BlockQ4_K) == 2);
static_assert(sizeof(BlockQ5_K) == 176 && alignof(BlockQ5_K) == 2);
static_assert(sizeof(BlockQ6_K) == 210 && alignof(BlockQ6_K) == 2);

struct ScaleMin {
  uint8_t scale;  // 0..63
  uint8_t min;    // 0..63
};

// Scale and minimum of group g of a Q4_K or Q5_K block. Groups 0..3 take the low six bits of bytes
// g and g + 4; groups 4..7 take a nibble of byte g + 4 and, above it, the two bits that those left.
inline ScaleMin k_scale_min(const uint8_t scales[12], int g) {
  if (g < 4) {
    return {static_cast<uint8_t>(scales[g] & 63), static_cast<uint8_t>(scales[g + 4] & 63)};
  }
  return {static_cast<uint8_t>((scales[g + 4] & 15) | ((scales[g - 4] >> 6) << 4)),
          static_cast<uint8_t>((scales[g + 4] >> 4) | ((scales[g] >> 6) << 4))};
}

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_QUANT_BLOCKS_H_
