// The scores of a block of query rows of one layer, reduced to what votes need, and tile plans
// tried on them.
#ifndef HOPSKIP_BENCH_SKIP_PLANS_SCORE_BLOCK_H_
#define HOPSKIP_BENCH_SKIP_PLANS_SCORE_BLOCK_H_

#include <cstdint>
#include <vector>

#include "attention/params.h"
#include "attention/tile_plan.h"
#include "hopskip/types.h"

namespace hopskip {

// For each head and row, and each unit of kUnitKeys keys: the largest log2 score, and the softmax
// mass of the unit in the row's dense attention.
class ScoreBlock {
 public:
  static constexpr int kUnitKeys = 16;

  // Rows [first_row, first_row + rows) of q [T][num_heads · head_dim], causal, over the keys of
  // k [keys][num_kv_heads · head_dim]; row i stands at position keys − T + i.
  ScoreBlock(const AttentionShape& shape, const float* q, int64_t tokens, const float* k,
             int64_t keys, int64_t first_row, int64_t rows);

  struct Outcome {
    SkipCounts counts;
    double lost_mass = 0.0;      // sum over rows
    double worst_lost_mass = 0;  // of a row
    int64_t rows = 0;

    Outcome& operator+=(const Outcome& other);
  };
  // What `plan` skips here; its keys and span must be multiples of kUnitKeys, and its rows divide
  // the block's.
  Outcome replay(const TilePlan& plan, double threshold_log2) const;

 private:
  int64_t index(int head, int64_t row, int64_t unit) const {
    return (head * rows_ + row) * units_ + unit;
  }
  // What the running maximum of the row at index `voter` starts from.
  float seed(const TilePlan& plan, int64_t voter) const;

  int heads_;
  int64_t rows_;
  int64_t units_;
  std::vector<float> max_;   // [heads][rows][units]; −inf: sees no key there
  std::vector<float> mass_;  // [heads][rows][units]
};

}  // namespace hopskip

#endif  // HOPSKIP_BENCH_SKIP_PLANS_SCORE_BLOCK_H_
