// The gated feed-forward block, down(silu(gate(x)) · up(x)) (SwiGLU, arXiv 2002.05202).
#ifndef HOPSKIP_MODELS_LAYERS_MLP_H_
#define HOPSKIP_MODELS_LAYERS_MLP_H_

#include "kernels/backend.h"
#include "models/layers/loader.h"

namespace hopskip {

class Mlp {
 public:
  // Activations of one step, shared by all layers: [T][intermediate], of this rank.
  struct Scratch {
    Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens);
    Matrix gate, up;
  };

  // config: this rank's (shard_of()). Inner units are shared in runs.
  Mlp(const Loader& load, const ModelConfig& config);

  // in.x [n][hidden] += mlp(in), n ≤ T, over the inner units of all ranks (see Gqa::project_out).
  void forward(Backend& backend, const NormedInput& in, Scratch scratch) const;

 private:
  bool carries_residual_;  // into the sum over the ranks
  WeightPtr gate_, up_, down_;
  WeightPtr gate_bias_, up_bias_, down_bias_;  // null where the model has none
};

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_MLP_H_
