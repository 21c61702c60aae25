// Which tiles a call kept and skipped: the debug output that parity tests compare bit by bit.
#ifndef HOPSKIP_ATTENTION_SKIP_MAP_H_
#define HOPSKIP_ATTENTION_SKIP_MAP_H_

#include <cstdint>
#include <vector>

#include "attention/params.h"
#include "attention/tile_plan.h"
#include "hopskip/types.h"

namespace hopskip {

enum class TileState : uint8_t {
  kInvisible,  // no row sees a key in it
  kKept,
  kSkipped,
};

// States of one sequence in one call, [head_tiles][row_tiles][key_tiles], row-major.
struct SkipMap {
  int64_t head_tiles = 0;  // num_heads / plan.heads
  int64_t row_tiles = 0;   // ⌈q_len / plan.rows⌉
  int64_t key_tiles = 0;   // ⌈kv_len / plan.keys⌉
  std::vector<TileState> states;

  SkipMap() = default;
  SkipMap(const AttentionShape& shape, const TilePlan& plan, int64_t q_len, int64_t kv_len)
      : head_tiles(shape.num_heads / plan.heads),
        row_tiles((q_len + plan.rows - 1) / plan.rows),
        key_tiles((kv_len + plan.keys - 1) / plan.keys),
        states(head_tiles * row_tiles * key_tiles, TileState::kInvisible) {}

  int64_t index(int64_t head_tile, int64_t row_tile, int64_t key_tile) const {
    return (head_tile * row_tiles + row_tile) * key_tiles + key_tile;
  }
  TileState& at(int64_t head_tile, int64_t row_tile, int64_t key_tile) {
    return states[index(head_tile, row_tile, key_tile)];
  }
  TileState at(int64_t head_tile, int64_t row_tile, int64_t key_tile) const {
    return states[index(head_tile, row_tile, key_tile)];
  }
  SkipCounts counts() const {
    SkipCounts counts;
    for (TileState state : states) {
      counts.tiles += state != TileState::kInvisible;
      counts.skipped += state == TileState::kSkipped;
    }
    return counts;
  }
};

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_SKIP_MAP_H_
