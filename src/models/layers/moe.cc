#include "models/layers/moe.h"

namespace hopskip {

Moe::Scratch::Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens)
    : logits(backend.allocate(num_tokens, config.num_experts, MatrixKind::kExact)) {}

Moe::Moe(const Loader& load, const ModelConfig& config)
    : world_(load.world()), routing_{config.num_experts_per_tok, config.norm_topk_prob} {
  const int64_t experts = config.num_experts;
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.moe_intermediate_size;
  router_ = load.matrix("gate.weight", experts, hidden);
  gate_ = load.experts("gate_proj.weight", experts, inner, hidden, Split::kOut);
  up_ = load.experts("up_proj.weight", experts, inner, hidden, Split::kOut);
  down_ = load.experts("down_proj.weight", experts, hidden, inner, Split::kIn);
}

void Moe::forward(Backend& backend, const NormedInput& in, Scratch scratch) const {
  scratch.logits.rows = in.x.rows;
  const ExpertWeights experts{gate_.get(), up_.get(), down_.get()};
  if (world_.size == 1) {
    backend.norm_moe(in, *router_, scratch.logits, experts, routing_);
    return;
  }
  // Ranks that choose different experts add up parts of different experts: all of them compute the
  // logits by the same operations from the same residual, and so get the same bits.
  backend.rms_norm(in.x, *in.norm, in.eps, in.y);
  const LinearTerm router{router_.get(), nullptr, scratch.logits};
  backend.linear(in.y, {&router, 1});
  if (!world_.is_first()) {
    backend.clear(in.x);
  }
  backend.moe(in.y, scratch.logits, experts, routing_, in.x);
  backend.all_reduce(in.x);
}

}  // namespace hopskip
