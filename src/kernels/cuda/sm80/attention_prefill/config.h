// Tile sizes of the prefill attention that every GPU from Ampere on can run.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_CONFIG_H_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_CONFIG_H_

#include "attention/tile_plan.h"

namespace hopskip::cuda::sm80 {

// mma.sync's M: the rows of one warp, which vote together.
inline constexpr int kPrefillVoteRows = 16;
// mma.sync's K in P · V: the finest slice of keys that can be left out.
inline constexpr int kPrefillSliceKeys = 16;

inline constexpr VisitOrder kPrefillOrder = VisitOrder::kSinkDiagonalInward;
// With a window the first span differs between the warps of a CTA; from the last on they agree.
inline constexpr VisitOrder kPrefillWindowOrder = VisitOrder::kLastToFirst;

// A tile of K and V serves 8 warps: 128 rows ask L2 for half of what 64 rows would.
inline constexpr int kPrefillWarps = 8;
inline constexpr int kPrefillThreads = 32 * kPrefillWarps;
inline constexpr int kPrefillRows = kPrefillVoteRows * kPrefillWarps;
inline constexpr int kPrefillStages = 2;

struct PrefillConfig {
  int tile_keys;  // keys scored at once: the span of the tile plan
  int ctas;       // on a multiprocessor, of 64 Ki registers
};

// A thread holds head_dim / 4 registers of queries, head_dim / 2 of outputs and tile_keys / 2 of
// scores. Shared memory: 2 · kPrefillStages · tile_keys · head_dim · 2 bytes, of which the smaller
// GPUs (8.6, 8.9, 12.0) have 99 KB for a CTA.
constexpr PrefillConfig prefill_config(int head_dim) {
  switch (head_dim) {
    case 64:
      return {64, 2};  // 32 KB
    case 128:
      return {64, 1};  // 64 KB
    default:
      return {32, 1};  // 256: 64 KB
  }
}

// Of the persistent grid. Where fewer fit, those that start late find no items left.
inline constexpr int kPrefillCtas = 2;

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_CONFIG_H_
