// Quantised weights repacked so that a vector lane is a row: no horizontal sums, one stream.
//
// A panel is 16 rows. It is a run of groups; a group holds `group` columns of the 16 rows:
//   words [group / (2 · per_word)][16 rows][2]  uint16, per_word = 16 / bits levels in each
//   d     [16]  fp16
//   m     [16]  fp16, where has_min
// Element e of half-word h of vector i is column 2 · (per_word · i + e) + h: shifting a vector by
// bits · e and masking it leaves two neighbouring columns of each row, the operand of a two-element
// 16-bit dot product. value = d · (level − zero) + m.
#ifndef HOPSKIP_KERNELS_CPU_PACKED_WEIGHT_H_
#define HOPSKIP_KERNELS_CPU_PACKED_WEIGHT_H_

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "tensor/dtype.h"

namespace hopskip {

inline constexpr int kPanelRows = 16;

struct PackedFormat {
  int bits = 0;   // of a level: 4 or 8
  int group = 0;  // columns that share d and m: 16 or 32
  bool has_min = false;
  int zero = 0;

  int64_t level_bytes() const { return int64_t{group} * kPanelRows * bits / 8; }
  int64_t group_bytes() const { return level_bytes() + kPanelRows * (has_min ? 4 : 2); }
  int64_t panel_bytes(int64_t cols) const { return cols / group * group_bytes(); }
  bool operator==(const PackedFormat&) const = default;
};

// The layout of a quantised dtype; null for scalars.
const PackedFormat* packed_format(DType dtype);

// Repacks [rows][cols] of `dtype` to dst, packed_bytes() long; rows beyond the last are zero. Q4_K
// and Q5_K products d · scale and dmin · min, and Q6_K's d · scale, are rounded to fp16.
void pack(ThreadPool& pool, DType dtype, const std::byte* src, int64_t rows, int64_t cols,
          std::byte* dst);
int64_t packed_bytes(const PackedFormat& format, int64_t rows, int64_t cols);

// Row `row` as floats [cols].
void unpack_row(const PackedFormat& format, const std::byte* packed, int64_t row, int64_t cols,
                float* dst);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_PACKED_WEIGHT_H_
