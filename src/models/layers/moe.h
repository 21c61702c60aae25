// A mixture of experts in the place of the feed-forward block (arXiv 1701.06538): a router gives
// each token to a few of many small blocks. The ranks of a world share the inner units of every
// expert, not the experts: then each rank routes all tokens as if it were alone, all have the same
// work whatever the tokens choose, and none waits for the one with the favourite expert.
#ifndef HOPSKIP_MODELS_LAYERS_MOE_H_
#define HOPSKIP_MODELS_LAYERS_MOE_H_

#include "kernels/backend.h"
#include "models/layers/loader.h"

namespace hopskip {

class Moe {
 public:
  // Activations of one step, shared by all layers.
  struct Scratch {
    Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens);
    Matrix logits;  // [T][num_experts]
  };

  // config: this rank's (shard_of()).
  Moe(const Loader& load, const ModelConfig& config);

  // in.x [n][hidden] += moe(in), n ≤ T, over the inner units of all ranks (see Gqa::project_out).
  void forward(Backend& backend, const NormedInput& in, Scratch scratch) const;

 private:
  World world_;
  MoeRouting routing_;
  WeightPtr router_;            // [num_experts][hidden]
  WeightPtr gate_, up_, down_;  // of all experts
};

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_MOE_H_
