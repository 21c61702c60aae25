// What the CPU attention kernels of every instruction set take and how to find them.
//
// The cache is made of slices of 16 keys, the unit that is voted on, read and multiplied:
//   K slice: [head_dim / 2][16 keys][2]   V slice: [16 / 2 key pairs][head_dim][2]
// Two elements make one 32-bit unit, the operand of a two-element dot product, so neither prefill
// (which broadcasts units of K and V to 16 query rows) nor decode (which loads 16 keys, or 16 value
// dimensions, as one vector) has anything to repack.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_KERNELS_H_
#define HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "attention/params.h"
#include "attention/skip_map.h"
#include "attention/tile_plan.h"
#include "kernels/cpu/simd/level.h"
#include "tensor/dtype.h"

namespace hopskip {

inline constexpr int kLanes = 16;      // query rows of a prefill tile
inline constexpr int kSliceKeys = 16;  // keys of a cache slice
inline constexpr int kMaxSpan = 1024;
inline constexpr int kMaxSpanSlices = kMaxSpan / kSliceKeys;
inline constexpr int kMaxHeadDim = 256;
// Row tiles that a prefill task works on at once, all on the same span of keys.
inline constexpr int kMaxUnits = 16;
// Keys that one decode task scores or sums: fixed, so that results do not depend on the threads.
inline constexpr int kSplitKeys = 512;
inline constexpr int kSplitSlices = kSplitKeys / kSliceKeys;

// One KV head of one layer of a sequence.
struct KvHead {
  std::byte* k = nullptr;          // page p's K slices start at k + p · page_bytes
  std::byte* v = nullptr;          // and its V slices at v + p · page_bytes
  const int32_t* pages = nullptr;  // block table
  int64_t page_bytes = 0;
  int64_t slice_bytes = 0;
  int slices_per_page = 0;

  std::byte* k_slice(int64_t slice) const { return k + offset(slice); }
  std::byte* v_slice(int64_t slice) const { return v + offset(slice); }

 private:
  int64_t offset(int64_t slice) const {
    return pages[slice / slices_per_page] * page_bytes + slice % slices_per_page * slice_bytes;
  }
};

// One sequence and KV head of one attention call.
struct AttentionTask {
  const AttentionShape* shape = nullptr;
  TilePlan plan;
  int64_t q_len = 0;
  int64_t kv_len = 0;
  float threshold_log2 = kDenseThresholdLog2;
  KvHead kv;
  int first_head = 0;        // of the group
  const float* q = nullptr;  // token t, head h of the group: q + t · q_stride + h · head_dim
  int64_t q_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  float* lse = nullptr;          // [q_len][num_heads] from this sequence's first token, or null
  TileState* states = nullptr;   // SkipMap::states, or null
  int64_t row_tiles = 0;         // of the map
  int64_t key_tiles = 0;         // of the map
  SkipCounts* counts = nullptr;  // [group], added to atomically

  int64_t position(int64_t token) const { return kv_len - q_len + token; }
};

// Scores and partial results of one decode task's sequence and KV head; rows = q_len · group, row =
// token · group + head of the group.
struct DecodeState {
  float* scores = nullptr;     // [rows][slices · 16], raw; −inf where masked
  float* slice_max = nullptr;  // [rows][slices]
  float* split_max = nullptr;  // [rows][splits]
  float* partial = nullptr;    // [splits][rows][head_dim]: Σ p · v of a split
  float* sums = nullptr;       // [splits][rows]: Σ p of a split
  int64_t slices = 0;          // splits · kSplitSlices
  int64_t splits = 0;
};

struct AttentionKernels {
  // Writes keys and values of `tokens` tokens, [head_dim] floats a row, to positions [position, …);
  // zeroes the values that follow them in a slice that they begin.
  void (*append)(const KvHead& kv, int head_dim, const float* k, const float* v, int64_t k_stride,
                 int64_t v_stride, int64_t position, int64_t tokens);
  // All heads of the group for query tokens [token_begin, token_end); token_begin is a multiple of
  // plan.rows. scratch: prefill_scratch_bytes(), 64-byte aligned.
  void (*prefill)(const AttentionTask& task, int64_t token_begin, int64_t token_end,
                  std::byte* scratch);
  // The three passes of decode over the splits of a sequence: scores of one split, then (all of
  // them done) the values of one split, then (all of them done) the rows' results.
  void (*decode_scores)(const AttentionTask& task, const DecodeState& state, int64_t split,
                        std::byte* scratch);
  void (*decode_values)(const AttentionTask& task, const DecodeState& state, int64_t split,
                        std::byte* scratch);
  void (*decode_combine)(const AttentionTask& task, const DecodeState& state);
  // Bit r: row r agrees to skip. The vector form of row_agrees_to_skip, for 16 rows.
  uint32_t (*rows_agree)(const float* tile_max, const float* running_max, float threshold);
};

// Scratch of one thread, an upper bound for all instruction sets.
size_t prefill_scratch_bytes(int head_dim, int span);
size_t decode_scratch_bytes(int head_dim, int64_t rows);

// dtype: kBF16 or kF16.
const AttentionKernels& attention_kernels(SimdLevel level, DType dtype);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_ATTENTION_KERNELS_H_
