// The skip rule of Skip Softmax, written once: every kernel, on any device, and the reference call
// it.
//
// Units: scores are log2 scores, score · scale · log2(e) after mask and soft-cap; t = log2(λ).
#ifndef HOPSKIP_ATTENTION_SKIP_RULE_H_
#define HOPSKIP_ATTENTION_SKIP_RULE_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "base/host_device.h"

namespace hopskip {

// t of dense attention: no visible tile is ever skipped.
inline constexpr float kDenseThresholdLog2 = -std::numeric_limits<float>::infinity();

// True where a row agrees to skip a tile. `tile_max` is the row's largest score in the tile (−inf:
// it sees no key there) and `running_max` its largest score in the tiles that vote before this one
// (−inf: none yet). A tile is skipped when all its existing rows agree.
//
// −inf + t is −inf, and nothing is below −inf: a row that has seen nothing agrees only to a tile it
// does not see. NaN never agrees.
//
// With t ≤ 0 a kernel may pass a running maximum that already includes this tile: if the tile
// raised the maximum, tile_max < tile_max + t is false as well. With t > 0 it may not, hence the
// clamp below.
template <typename Real>
HOPSKIP_HD inline bool row_agrees_to_skip(Real tile_max, Real running_max, Real threshold_log2) {
  return tile_max == -std::numeric_limits<Real>::infinity() ||
         tile_max < running_max + threshold_log2;
}

// The same rule for one running maximum and many tiles: a row agrees to skip exactly the tiles with
// below_skip_bound(tile_max, skip_bound(running_max, t)). Below every finite score lies −inf alone,
// which is the case that row_agrees_to_skip names; NaN gives that bound, too.
HOPSKIP_HD inline float skip_bound(float running_max, float threshold_log2) {
  return fmaxf(running_max + threshold_log2, -std::numeric_limits<float>::max());
}
HOPSKIP_HD inline bool below_skip_bound(float tile_max, float bound) { return tile_max < bound; }

// λ is at most 1: then a skipped tile can never hold a row's maximum. NaN stays, and never agrees.
HOPSKIP_HD inline float clamp_threshold_log2(float threshold_log2) {
  return threshold_log2 > 0.0f ? 0.0f : threshold_log2;
}

// t = log2(min(1, factor / keys)) for a sequence with `keys` > 0 keys at this step; factor ≥ 0, and
// a factor of 0 is dense attention. Clamped so that a skipped tile can never hold a row's maximum.
inline float skip_threshold_log2(double factor, int64_t keys) {
  if (!(factor > 0.0)) {
    return kDenseThresholdLog2;
  }
  return static_cast<float>(std::fmin(0.0, std::log2(factor / static_cast<double>(keys))));
}

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_SKIP_RULE_H_
