// Tile sizes of Hopper's prefill attention. Reasons and measurements: docs/kernels/prefill.md.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_CONFIG_H_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_CONFIG_H_

#include "attention/tile_plan.h"

namespace hopskip::cuda::sm90 {

// wgmma's M: the rows of one warpgroup, which vote together.
inline constexpr int kPrefillVoteRows = 64;
// wgmma's K for 16-bit operands: P·V is issued in steps of this many keys, so it is the finest
// slice that can be left out.
inline constexpr int kPrefillSliceKeys = 16;

inline constexpr VisitOrder kPrefillOrder = VisitOrder::kSinkDiagonalInward;
// With a window the first span differs between the warpgroups of a CTA; from the last on they
// agree.
inline constexpr VisitOrder kPrefillWindowOrder = VisitOrder::kLastToFirst;

struct PrefillConfig {
  int consumers;  // warpgroups of 64 rows
  int tile_keys;  // keys scored at once: the span of the tile plan
  int k_stages;   // tiles of K in flight or in use
  int v_stages;
  int consumer_registers;  // of a thread
  int producer_registers;

  constexpr int rows() const { return consumers * kPrefillVoteRows; }
  constexpr int threads() const { return 128 * (1 + consumers); }
};

// Registers: tile_keys / 2 scores, which become the packed weights, and head_dim / 2 outputs have
// to fit a consumer's; a CTA has 64 Ki. Shared memory: (rows + (k_stages + v_stages) · tile_keys) ·
// head_dim · 2 bytes of 227 KB.
constexpr PrefillConfig prefill_config(int head_dim) {
  switch (head_dim) {
    case 64:
      return {3, 128, 4, 4, 160, 32};  // 152 KB
    case 128:
      return {3, 128, 3, 2, 160, 32};  // 208 KB
    default:
      return {2, 64, 3, 2, 232, 40};  // 256: 224 KB
  }
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_CONFIG_H_
