#include "models/layers/mlp.h"

namespace hopskip {

Mlp::Scratch::Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens)
    : gate(backend.allocate(num_tokens, config.intermediate_size, MatrixKind::kActivation)),
      up(backend.allocate(num_tokens, config.intermediate_size, MatrixKind::kActivation)) {}

Mlp::Mlp(const Loader& load, const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  gate_ = load.matrix("gate_proj.weight", inner, hidden);
  up_ = load.matrix("up_proj.weight", inner, hidden);
  down_ = load.matrix("down_proj.weight", hidden, inner);
  gate_bias_ = load.vector_if(config.mlp_bias, "gate_proj.bias", inner);
  up_bias_ = load.vector_if(config.mlp_bias, "up_proj.bias", inner);
  down_bias_ = load.vector_if(config.mlp_bias, "down_proj.bias", hidden);
}

void Mlp::forward(Backend& backend, const NormedInput& in, Scratch scratch) const {
  auto& [gate, up] = scratch;
  gate.rows = up.rows = in.x.rows;
  backend.norm_gated_linear(in, {gate_.get(), gate_bias_.get(), gate},
                            {up_.get(), up_bias_.get(), up});
  const LinearTerm down{down_.get(), down_bias_.get(), in.x, true};
  backend.linear(gate, {&down, 1});
}

}  // namespace hopskip
