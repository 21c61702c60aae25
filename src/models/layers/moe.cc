#include "models/layers/moe.h"

namespace hopskip {

Moe::Scratch::Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens)
    : logits(backend.allocate(num_tokens, config.num_experts, MatrixKind::kExact)) {}

Moe::Moe(const Loader& load, const ModelConfig& config)
    : routing_{config.num_experts_per_tok, config.norm_topk_prob} {
  const int64_t experts = config.num_experts;
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.moe_intermediate_size;
  router_ = load.matrix("gate.weight", experts, hidden);
  gate_ = load.experts("gate_proj.weight", experts, inner, hidden);
  up_ = load.experts("up_proj.weight", experts, inner, hidden);
  down_ = load.experts("down_proj.weight", experts, hidden, inner);
}

void Moe::forward(Backend& backend, const NormedInput& in, Scratch scratch) const {
  scratch.logits.rows = in.x.rows;
  backend.norm_moe(in, *router_, scratch.logits, {gate_.get(), up_.get(), down_.get()}, routing_);
}

}  // namespace hopskip
