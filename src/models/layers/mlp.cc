#include "models/layers/mlp.h"

namespace hopskip {

Mlp::Scratch::Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens)
    : gate(backend.allocate(num_tokens, config.intermediate_size, MatrixKind::kActivation)),
      up(backend.allocate(num_tokens, config.intermediate_size, MatrixKind::kActivation)) {}

Mlp::Mlp(const Loader& load, const ModelConfig& config)
    : carries_residual_(load.world().is_first()) {
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  gate_ = load.matrix("gate_proj.weight", inner, hidden, Split::kOut);
  up_ = load.matrix("up_proj.weight", inner, hidden, Split::kOut);
  down_ = load.matrix("down_proj.weight", hidden, inner, Split::kIn);
  gate_bias_ = load.bias_if(config.mlp_bias, "gate_proj.bias", inner, Split::kOut);
  up_bias_ = load.bias_if(config.mlp_bias, "up_proj.bias", inner, Split::kOut);
  down_bias_ = load.bias_if(config.mlp_bias, "down_proj.bias", hidden, Split::kIn);
}

void Mlp::forward(Backend& backend, const NormedInput& in, Scratch scratch) const {
  auto& [gate, up] = scratch;
  gate.rows = up.rows = in.x.rows;
  backend.norm_gated_linear(in, {gate_.get(), gate_bias_.get(), gate},
                            {up_.get(), up_bias_.get(), up});
  const LinearTerm down{down_.get(), down_bias_.get(), in.x, carries_residual_};
  backend.linear(gate, {&down, 1});
  backend.all_reduce(in.x);
}

}  // namespace hopskip
