// Models of random weights in the shape of published ones, for measuring speed without a checkpoint
// and at a share of skipped tiles that is chosen.
//
// What Skip Softmax can skip depends on what a model attends to, and random weights attend to
// nothing in particular. So weights and prompt together make stretches of keys hot or cold for each
// KV head, and everything that computes stays what a real model runs:
//   - 1 + num_kv_heads hidden dimensions are reserved. In every embedding the first is 1; of the
//     others, number j is 1 or −1 as bit j of the token id says.
//   - In each head, the rotary pair of the lowest frequency, which hardly turns over a whole
//     context, takes the constant into q and one of the bits into k, enlarged so that keys of −1
//     score 60 nats below those of 1 in the first layer. Which bit a KV head reads changes from
//     layer to layer. Where heads are normalised (Qwen3), the norms' weights enlarge.
//   - Nothing else reads or writes the reserved dimensions, the router of experts included, so that
//     they stay as they are down to the last layer. Rows of o_proj and down_proj are scaled by
//     1 / √(2 · layers) so that the residual stream, and with it what the norms leave of the
//     distance, changes little: some 35 nats are left everywhere.
//   - The prompt's ids have equal bits over stretches of 128 tokens; first and last are hot.
// A threshold of about −20 nats (synthetic_skip_factor) then skips the tiles within cold stretches
// and no other one: hot scores are normal numbers of deviation 1, about.
#ifndef HOPSKIP_WEIGHTS_SYNTHETIC_H_
#define HOPSKIP_WEIGHTS_SYNTHETIC_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

namespace hopskip {

// Names of the shapes, in the order in which they are listed to people.
std::vector<std::string_view> synthetic_shapes();

// What the published config.json of the shape says, but for `layers` of it (0: all) and room for
// `context` positions, which random weights do not care about. Throws InvalidArgument, listing what
// there is, for another name, and for layers that the model does not have.
ModelConfig synthetic_config(std::string_view shape, int64_t layers, int64_t context);

// Every tensor that the model has, as random views. Throws InvalidArgument for a model that has no
// room for the reserved dimensions.
Checkpoint synthetic_checkpoint(const ModelConfig& config, uint64_t seed = 1);

inline constexpr int64_t kSyntheticStretch = 128;  // tokens that are hot or cold together

// A prompt of `length` tokens with so many cold stretches, at random places of each KV head, that
// `share` of the visible tiles are cold in a decode step behind it and, as near as some dozens of
// tries come, in its prefill. All but the first and the last stretch can be cold: of short prompts
// less than `share` may be. Throws InvalidArgument for a share outside 0…1.
std::vector<int32_t> synthetic_prompt(const ModelConfig& config, int64_t length, double share,
                                      uint64_t seed);

// The threshold scale factor that skips exactly what is cold, for sequences of up to `context`
// keys: λ is e^-20 there, and larger for fewer keys, yet below e^-13 from 128 of 131,072 on.
double synthetic_skip_factor(int64_t context);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_SYNTHETIC_H_
