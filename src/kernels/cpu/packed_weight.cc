#include "kernels/cpu/packed_weight.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/quant_blocks.h"

namespace hopskip {
namespace {

// One group of one row, between the two layouts.
struct Group {
  std::array<uint8_t, 32> levels{};
  fp16 d{};
  fp16 m{};
};

template <typename Block>
Block block_at(const std::byte* row, int64_t index) {
  Block block;
  std::memcpy(&block, row + index * sizeof(Block), sizeof(Block));
  return block;
}

uint8_t nibble(uint8_t byte, bool high) { return high ? byte >> 4 : byte & 15; }

// read_*: group g of a row of blocks.
template <typename Block>
Group read_nibbles(const std::byte* row, int64_t g) {
  const auto block = block_at<Block>(row, g);
  Group group{.d = block.d};
  for (int i = 0; i < 32; ++i) {
    group.levels[i] = nibble(block.qs[i % 16], i >= 16);
  }
  if constexpr (requires { block.m; }) {
    group.m = block.m;
  }
  return group;
}

Group read_q8_0(const std::byte* row, int64_t g) {
  const auto block = block_at<BlockQ8_0>(row, g);
  Group group{.d = block.d};
  for (int i = 0; i < 32; ++i) {
    group.levels[i] = static_cast<uint8_t>(block.qs[i] + 128);
  }
  return group;
}

template <typename Block>
Group read_k(const std::byte* row, int64_t g) {
  const auto block = block_at<Block>(row, g / 8);
  const int part = static_cast<int>(g % 8);
  const ScaleMin scale = k_scale_min(block.scales, part);
  Group group{.d = fp16(float(block.d) * scale.scale), .m = fp16(-float(block.dmin) * scale.min)};
  for (int i = 0; i < 32; ++i) {
    group.levels[i] = nibble(block.qs[part / 2 * 32 + i], part % 2 == 1);
    if constexpr (requires { block.qh; }) {
      group.levels[i] |= (block.qh[i] >> part & 1) << 4;
    }
  }
  return group;
}

Group read_q6_k(const std::byte* row, int64_t g) {
  const auto block = block_at<BlockQ6_K>(row, g / 16);
  const int part = static_cast<int>(g % 16);
  Group group{.d = fp16(float(block.d) * block.scales[part])};
  for (int i = 0; i < 16; ++i) {
    const int element = part * 16 + i;
    const int half = element / 128;
    const int quarter = element % 128 / 32;
    const int j = element % 32;
    const uint8_t low = nibble(block.ql[64 * half + 32 * (quarter % 2) + j], quarter >= 2);
    const uint8_t high = block.qh[32 * half + j] >> (2 * quarter) & 3;
    group.levels[i] = low | high << 4;
  }
  return group;
}

struct Row {
  DType dtype;
  PackedFormat format;
  Group (*read)(const std::byte* row, int64_t g);
};

constexpr std::array kRows{
    Row{DType::kQ4_0, {.bits = 4, .group = 32, .zero = 8}, read_nibbles<BlockQ4_0>},
    Row{DType::kQ4_1, {.bits = 4, .group = 32, .has_min = true}, read_nibbles<BlockQ4_1>},
    Row{DType::kQ8_0, {.bits = 8, .group = 32, .zero = 128}, read_q8_0},
    Row{DType::kQ4_K, {.bits = 4, .group = 32, .has_min = true}, read_k<BlockQ4_K>},
    Row{DType::kQ5_K, {.bits = 8, .group = 32, .has_min = true}, read_k<BlockQ5_K>},
    Row{DType::kQ6_K, {.bits = 8, .group = 16, .zero = 32}, read_q6_k},
};

const Row* find(DType dtype) {
  const auto row = std::find_if(kRows.begin(), kRows.end(),
                                [&](const Row& candidate) { return candidate.dtype == dtype; });
  return row == kRows.end() ? nullptr : &*row;
}

// Where column `col` (of a group) of panel row `row` is.
struct Place {
  int64_t word;
  int shift;
};
Place place(const PackedFormat& format, int row, int col) {
  const int per_word = 16 / format.bits;
  const int pair = col / 2;
  return {(int64_t{pair / per_word} * kPanelRows + row) * 2 + col % 2,
          pair % per_word * format.bits};
}

}  // namespace

const PackedFormat* packed_format(DType dtype) {
  const Row* row = find(dtype);
  return row == nullptr ? nullptr : &row->format;
}

int64_t packed_bytes(const PackedFormat& format, int64_t rows, int64_t cols) {
  return (rows + kPanelRows - 1) / kPanelRows * format.panel_bytes(cols);
}

void pack(ThreadPool& pool, DType dtype, const std::byte* src, int64_t rows, int64_t cols,
          std::byte* packed) {
  const Row& source = *find(dtype);
  const PackedFormat& format = source.format;
  const int64_t panels = (rows + kPanelRows - 1) / kPanelRows;
  pool.parallel_for(panels, [&](int64_t panel, int) {
    std::byte* dst = packed + panel * format.panel_bytes(cols);
    std::memset(dst, 0, format.panel_bytes(cols));
    const int filled = static_cast<int>(std::min<int64_t>(kPanelRows, rows - panel * kPanelRows));
    for (int r = 0; r < filled; ++r) {
      const std::byte* row = src + (panel * kPanelRows + r) * row_bytes(dtype, cols);
      for (int64_t g = 0; g < cols / format.group; ++g) {
        const Group group = source.read(row, g);
        std::byte* out = dst + g * format.group_bytes();
        auto* words = reinterpret_cast<uint16_t*>(out);
        auto* scales = reinterpret_cast<fp16*>(out + format.level_bytes());
        for (int col = 0; col < format.group; ++col) {
          const Place at = place(format, r, col);
          words[at.word] |= static_cast<uint16_t>(group.levels[col] << at.shift);
        }
        scales[r] = group.d;
        if (format.has_min) {
          scales[kPanelRows + r] = group.m;
        }
      }
    }
  });
}

void unpack_row(const PackedFormat& format, const std::byte* packed, int64_t row, int64_t cols,
                float* dst) {
  const std::byte* panel = packed + row / kPanelRows * format.panel_bytes(cols);
  const int r = static_cast<int>(row % kPanelRows);
  for (int64_t g = 0; g < cols / format.group; ++g) {
    const std::byte* group = panel + g * format.group_bytes();
    const auto* words = reinterpret_cast<const uint16_t*>(group);
    const auto* scales = reinterpret_cast<const fp16*>(group + format.level_bytes());
    const float d(scales[r]);
    const float m = format.has_min ? float(scales[kPanelRows + r]) : 0.0f;
    for (int col = 0; col < format.group; ++col) {
      const Place at = place(format, r, col);
      const int level = words[at.word] >> at.shift & ((1 << format.bits) - 1);
      dst[g * format.group + col] = d * static_cast<float>(level - format.zero) + m;
    }
  }
}

}  // namespace hopskip
