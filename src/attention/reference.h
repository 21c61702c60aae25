// Attention with Skip Softmax as an executable specification: replays a tile plan in fp64.
#ifndef HOPSKIP_ATTENTION_REFERENCE_H_
#define HOPSKIP_ATTENTION_REFERENCE_H_

#include <cstdint>
#include <vector>

#include "attention/params.h"
#include "attention/skip_map.h"
#include "attention/tile_plan.h"

namespace hopskip {

// One sequence. Values are taken as they are: round k, v and q to the kernel's dtypes beforehand.
struct ReferenceInput {
  AttentionShape shape;
  int64_t q_len = 0;
  int64_t kv_len = 0;
  const float* q = nullptr;  // [q_len][num_heads][head_dim]
  const float* k = nullptr;  // [kv_len][num_kv_heads][head_dim]
  const float* v = nullptr;  // [kv_len][num_kv_heads][head_dim]
};

struct ReferenceOutput {
  std::vector<double> out;  // [q_len][num_heads][head_dim]; 0 for a row that sees no key
  std::vector<double> lse;  // [q_len][num_heads], natural log, sinks included; −inf: saw nothing
  SkipMap map;
  // How far each visible tile's vote is from flipping, in log2 units: a kernel may differ from the
  // map where this is inside its rounding band.
  std::vector<double> margin;
};

// The rule as a parameter, so that tests can replay a wrong one and see the laws fail.
using SkipRule = bool (*)(double tile_max, double running_max, double threshold_log2);

// Replays `plan` with threshold t = threshold_log2. Where `forced` is given, its kept and skipped
// tiles replace the votes: that is how a kernel's output is judged separately from its votes.
// Throws InvalidArgument for a shape or plan that cannot be replayed.
ReferenceOutput reference_attention(const ReferenceInput& input, const TilePlan& plan,
                                    double threshold_log2, const SkipMap* forced = nullptr,
                                    SkipRule rule = row_agrees_to_skip<double>);

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_REFERENCE_H_
