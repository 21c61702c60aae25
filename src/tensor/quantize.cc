#include "tensor/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/float8.h"
#include "tensor/quant_blocks.h"

namespace hopskip {
namespace {

// ---- one block to floats ------------------------------------------------------------------------

void decode(const float& block, float* y) { *y = block; }
void decode(const fp16& block, float* y) { *y = static_cast<float>(block); }
void decode(const bf16& block, float* y) { *y = static_cast<float>(block); }
void decode(const fp8_e4m3& block, float* y) { *y = static_cast<float>(block); }

void decode(const BlockQ8_0& block, float* y) {
  const float d = static_cast<float>(block.d);
  for (int i = 0; i < 32; ++i) {
    y[i] = d * static_cast<float>(block.qs[i]);
  }
}

void decode(const BlockQ4_0& block, float* y) {
  const float d = static_cast<float>(block.d);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((block.qs[i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((block.qs[i] >> 4) - 8);
  }
}

void decode(const BlockQ4_1& block, float* y) {
  const float d = static_cast<float>(block.d);
  const float m = static_cast<float>(block.m);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(block.qs[i] & 15) + m;
    y[i + 16] = d * static_cast<float>(block.qs[i] >> 4) + m;
  }
}

int nibble_of_group(const uint8_t qs[128], int group, int i) {
  return (qs[32 * (group / 2) + i] >> (4 * (group % 2))) & 15;
}

void decode(const BlockQ4_K& block, float* y) {
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = k_scale_min(block.scales, group);
    const float scale = static_cast<float>(block.d) * packed.scale;
    const float min = static_cast<float>(block.dmin) * packed.min;
    for (int i = 0; i < 32; ++i) {
      y[32 * group + i] = scale * static_cast<float>(nibble_of_group(block.qs, group, i)) - min;
    }
  }
}

void decode(const BlockQ5_K& block, float* y) {
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = k_scale_min(block.scales, group);
    const float scale = static_cast<float>(block.d) * packed.scale;
    const float min = static_cast<float>(block.dmin) * packed.min;
    for (int i = 0; i < 32; ++i) {
      const int high = (block.qh[i] >> group) & 1;
      const int q = nibble_of_group(block.qs, group, i) + 16 * high;
      y[32 * group + i] = scale * static_cast<float>(q) - min;
    }
  }
}

// Where Q6_K keeps element i of 256.
struct Q6Position {
  int low, low_shift, high, high_shift;

  explicit Q6Position(int i) {
    const int half = i / 128, quarter = i % 128 / 32, j = i % 32;
    low = 64 * half + 32 * (quarter % 2) + j;
    low_shift = 4 * (quarter / 2);
    high = 32 * half + j;
    high_shift = 2 * quarter;
  }
};

void decode(const BlockQ6_K& block, float* y) {
  const float d = static_cast<float>(block.d);
  for (int i = 0; i < 256; ++i) {
    const Q6Position at(i);
    const int low = (block.ql[at.low] >> at.low_shift) & 15;
    const int high = (block.qh[at.high] >> at.high_shift) & 3;
    y[i] = d * static_cast<float>(block.scales[i / 16]) * static_cast<float>(low + 16 * high - 32);
  }
}

// ---- floats to one block ------------------------------------------------------------------------

float inverse(float scale) { return scale != 0.0f ? 1.0f / scale : 0.0f; }

int nearest_level(float x, int lowest, int highest) {
  const float level = std::nearbyint(x);
  return static_cast<int>(
      std::clamp(level, static_cast<float>(lowest), static_cast<float>(highest)));
}

float largest_magnitude(const float* x, int n) {
  float largest = 0.0f;
  for (int i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
  }
  return largest;
}

void encode(const float* x, float& block) { block = *x; }
void encode(const float* x, fp16& block) { block = fp16(*x); }
void encode(const float* x, bf16& block) { block = bf16(*x); }
void encode(const float* x, fp8_e4m3& block) { block = fp8_e4m3(*x); }

void encode(const float* x, BlockQ8_0& block) {
  block.d = fp16(largest_magnitude(x, 32) / 127.0f);
  const float inv = inverse(static_cast<float>(block.d));
  for (int i = 0; i < 32; ++i) {
    block.qs[i] = static_cast<int8_t>(nearest_level(x[i] * inv, -127, 127));
  }
}

// The value of the largest magnitude becomes level −8, whatever its sign.
void encode(const float* x, BlockQ4_0& block) {
  const float* extreme =
      std::max_element(x, x + 32, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  block.d = fp16(*extreme / -8.0f);
  const float inv = inverse(static_cast<float>(block.d));
  for (int i = 0; i < 16; ++i) {
    const int low = nearest_level(x[i] * inv, -8, 7) + 8;
    const int high = nearest_level(x[i + 16] * inv, -8, 7) + 8;
    block.qs[i] = static_cast<uint8_t>(low | (high << 4));
  }
}

void encode(const float* x, BlockQ4_1& block) {
  const auto [min, max] = std::minmax_element(x, x + 32);
  block.d = fp16((*max - *min) / 15.0f);
  block.m = fp16(*min);
  const float m = static_cast<float>(block.m);
  const float inv = inverse(static_cast<float>(block.d));
  for (int i = 0; i < 16; ++i) {
    const int low = nearest_level((x[i] - m) * inv, 0, 15);
    const int high = nearest_level((x[i + 16] - m) * inv, 0, 15);
    block.qs[i] = static_cast<uint8_t>(low | (high << 4));
  }
}

// The inverse of k_scale_min() for all eight groups.
void pack_k_scales(const std::array<ScaleMin, 8>& groups, uint8_t scales[12]) {
  std::memset(scales, 0, 12);
  for (int g = 0; g < 4; ++g) {
    scales[g] = groups[g].scale;
    scales[g + 4] = groups[g].min;
  }
  for (int g = 4; g < 8; ++g) {
    scales[g + 4] = static_cast<uint8_t>((groups[g].scale & 15) | ((groups[g].min & 15) << 4));
    scales[g - 4] |= static_cast<uint8_t>((groups[g].scale >> 4) << 6);
    scales[g] |= static_cast<uint8_t>((groups[g].min >> 4) << 6);
  }
}

// The shared part of Q4_K and Q5_K: scales and minima of the eight groups, then levels [256] of
// 0..highest.
template <typename Block>
void encode_k_groups(const float* x, int highest, Block& block, uint8_t* levels) {
  std::array<float, 8> scale, min;
  for (int g = 0; g < 8; ++g) {
    const auto [lowest, largest] = std::minmax_element(x + 32 * g, x + 32 * g + 32);
    min[g] = std::max(0.0f, -*lowest);  // minima are subtracted and cannot be negative
    scale[g] = std::max(0.0f, *largest + min[g]) / static_cast<float>(highest);
  }
  block.d = fp16(*std::max_element(scale.begin(), scale.end()) / 63.0f);
  block.dmin = fp16(*std::max_element(min.begin(), min.end()) / 63.0f);
  const float d = static_cast<float>(block.d);
  const float dmin = static_cast<float>(block.dmin);
  std::array<ScaleMin, 8> packed;
  for (int g = 0; g < 8; ++g) {
    packed[g].scale = static_cast<uint8_t>(nearest_level(scale[g] * inverse(d), 0, 63));
    packed[g].min = static_cast<uint8_t>(nearest_level(min[g] * inverse(dmin), 0, 63));
    const float inv = inverse(d * packed[g].scale);
    for (int i = 0; i < 32; ++i) {
      const float shifted = x[32 * g + i] + dmin * packed[g].min;
      levels[32 * g + i] = static_cast<uint8_t>(nearest_level(shifted * inv, 0, highest));
    }
  }
  pack_k_scales(packed, block.scales);
  for (int g = 0; g < 8; g += 2) {
    for (int i = 0; i < 32; ++i) {
      const int low = levels[32 * g + i] & 15;
      const int high = levels[32 * (g + 1) + i] & 15;
      block.qs[16 * g + i] = static_cast<uint8_t>(low | (high << 4));
    }
  }
}

void encode(const float* x, BlockQ4_K& block) {
  uint8_t levels[256];
  encode_k_groups(x, 15, block, levels);
}

void encode(const float* x, BlockQ5_K& block) {
  uint8_t levels[256];
  encode_k_groups(x, 31, block, levels);
  std::memset(block.qh, 0, sizeof(block.qh));
  for (int i = 0; i < 256; ++i) {
    block.qh[i % 32] |= static_cast<uint8_t>((levels[i] >> 4) << (i / 32));
  }
}

void encode(const float* x, BlockQ6_K& block) {
  block = {};
  block.d = fp16(largest_magnitude(x, 256) / (31.0f * 127.0f));
  const float d = static_cast<float>(block.d);
  for (int g = 0; g < 16; ++g) {
    const float scale = largest_magnitude(x + 16 * g, 16) / 31.0f;
    block.scales[g] = static_cast<int8_t>(nearest_level(scale * inverse(d), 0, 127));
    const float inv = inverse(d * block.scales[g]);
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      const int q = nearest_level(x[i] * inv, -32, 31) + 32;
      const Q6Position at(i);
      block.ql[at.low] |= static_cast<uint8_t>((q & 15) << at.low_shift);
      block.qh[at.high] |= static_cast<uint8_t>((q >> 4) << at.high_shift);
    }
  }
}

// ---- rows of blocks -----------------------------------------------------------------------------

// The stored bytes may be unaligned, so each block is copied out and in.
template <typename Block>
void decode_all(const void* src, float* dst, int64_t blocks, int64_t block_elements) {
  for (int64_t b = 0; b < blocks; ++b) {
    Block block;
    std::memcpy(&block, static_cast<const char*>(src) + b * sizeof(Block), sizeof(Block));
    decode(block, dst + b * block_elements);
  }
}

template <typename Block>
void encode_all(const float* src, void* dst, int64_t blocks, int64_t block_elements) {
  for (int64_t b = 0; b < blocks; ++b) {
    Block block;
    encode(src + b * block_elements, block);
    std::memcpy(static_cast<char*>(dst) + b * sizeof(Block), &block, sizeof(Block));
  }
}

struct Codec {
  DType dtype;
  size_t block_size;
  void (*decode)(const void*, float*, int64_t, int64_t);
  void (*encode)(const float*, void*, int64_t, int64_t);
};

template <typename Block>
constexpr Codec codec(DType dtype) {
  return {dtype, sizeof(Block), decode_all<Block>, encode_all<Block>};
}

constexpr Codec kCodecs[] = {
    codec<float>(DType::kF32),       codec<fp16>(DType::kF16),       codec<bf16>(DType::kBF16),
    codec<BlockQ8_0>(DType::kQ8_0),  codec<BlockQ4_0>(DType::kQ4_0), codec<BlockQ4_1>(DType::kQ4_1),
    codec<BlockQ4_K>(DType::kQ4_K),  codec<BlockQ5_K>(DType::kQ5_K), codec<BlockQ6_K>(DType::kQ6_K),
    codec<fp8_e4m3>(DType::kF8E4M3),
};

const Codec& find_codec(DType dtype, int64_t elements) {
  for (const Codec& row : kCodecs) {
    if (row.dtype == dtype) {
      check(elements >= 0 && elements % block_elements(dtype) == 0, ErrorCode::kInvalidArgument,
            "{} elements are no whole number of {} blocks of {}", elements, dtype_name(dtype),
            block_elements(dtype));
      check(static_cast<int64_t>(row.block_size) == block_bytes(dtype), ErrorCode::kInternal,
            "a {} block has {} bytes, not {}", dtype_name(dtype), row.block_size,
            block_bytes(dtype));
      return row;
    }
  }
  fail(ErrorCode::kUnsupported, "{} has no conversion to or from float", dtype_name(dtype));
}

}  // namespace

void dequantize(DType dtype, const void* src, float* dst, int64_t elements) {
  find_codec(dtype, elements)
      .decode(src, dst, elements / block_elements(dtype), block_elements(dtype));
}

void quantize(DType dtype, const float* src, void* dst, int64_t elements) {
  find_codec(dtype, elements)
      .encode(src, dst, elements / block_elements(dtype), block_elements(dtype));
}

}  // namespace hopskip
