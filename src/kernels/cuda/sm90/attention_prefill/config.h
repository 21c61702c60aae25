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
// With a window the first span differs between the warpgroups of a CTA; from the last on they agree.
inline constexpr VisitOrder kPrefillWindowOrder = VisitOrder::kLastToFirst;

// A weight may grow to 2^8 before sums are rescaled: their fp32 has room, and the rescaling, which
// with every new maximum would be a tenth of the softmax, becomes rare.
inline constexpr float kPrefillSlackLog2 = 8.0f;
// Base of a row that has seen nothing: below every finite score, and finite, so that −inf − base is
// −inf.
inline constexpr float kPrefillNoBase = -1.5e38f;

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

// Registers: tile_keys / 2 scores, half as many packed weights and head_dim / 2 outputs have to fit
// a consumer's; a CTA has 64 Ki. Shared memory: (rows + (k_stages + v_stages) · tile_keys) ·
// head_dim · 2 bytes of 227 KB.
constexpr PrefillConfig prefill_config(int head_dim) {
  switch (head_dim) {
    case 64:
      return {3, 128, 4, 4, 160, 32};  // 152 KB
    case 128:
#ifndef PF_KEYS
#define PF_KEYS 128
#endif
#ifndef PF_K
#define PF_K 3
#define PF_V 2
#endif
      return {3, PF_KEYS, PF_K, PF_V, 160, 32};  // 208 KB
    default:
      return {2, 64, 2, 2, 232, 40};  // 256: 192 KB
  }
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_CONFIG_H_
