// Grouped-query attention with rotary positions (Llama 2, arXiv 2307.09288; GQA, arXiv 2305.13245).
#ifndef HOPSKIP_MODELS_LAYERS_GQA_H_
#define HOPSKIP_MODELS_LAYERS_GQA_H_

#include "kernels/backend.h"
#include "models/layers/loader.h"

namespace hopskip {

class Gqa {
 public:
  // Activations of one step, shared by all layers.
  struct Scratch {
    Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens);
    Matrix q;         // [T][num_heads · head_dim]
    Matrix k, v;      // [T][num_kv_heads · head_dim]
    Matrix attended;  // as q
  };

  // window: keys a query sees, 0 for all. config: this rank's (shard_of()). Heads are shared in
  // runs, a KV head together with the heads that query it.
  Gqa(const Loader& load, const ModelConfig& config, int64_t window);

  const AttentionShape& shape() const { return shape_; }

  // scratch.attended = attention over the input [T][hidden] and the cache, to which k and v are
  // appended.
  void forward(Backend& backend, Step& step, const NormedInput& in, int layer, const Rope& rope,
               const Scratch& scratch) const;
  // residual [n][hidden] += attended [n][num_heads · head_dim] · o_projᵀ, over the heads of all
  // ranks: the first rank adds to the residual, the others put their part in its place, and the sum
  // over the ranks is the new residual of each. A rank that is alone just adds.
  void project_out(Backend& backend, Matrix attended, Matrix residual) const;

 private:
  AttentionShape shape_;
  float eps_;
  bool carries_residual_;  // into the sum over the ranks
  WeightPtr q_, k_, v_, o_;
  WeightPtr q_bias_, k_bias_, v_bias_, o_bias_;  // null where the model has none
  WeightPtr q_norm_, k_norm_;                    // null where the model has none
};

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_GQA_H_
