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

void Mlp::forward(Backend& backend, Matrix x, Scratch scratch, Matrix residual) const {
  auto& [gate, up] = scratch;
  gate.rows = up.rows = x.rows;
  backend.gated_linear(x, {gate_.get(), gate_bias_.get(), gate}, {up_.get(), up_bias_.get(), up});
  const LinearTerm down{down_.get(), down_bias_.get(), residual, true};
  backend.linear(gate, {&down, 1});
}

}  // namespace hopskip
