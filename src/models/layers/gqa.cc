#include "models/layers/gqa.h"

#include <algorithm>
#include <cmath>

namespace hopskip {
namespace {

Matrix activation(Backend& backend, int64_t rows, int64_t cols) {
  return backend.allocate(rows, cols, MatrixKind::kActivation);
}

}  // namespace

Gqa::Scratch::Scratch(Backend& backend, const ModelConfig& config, int64_t num_tokens)
    : q(activation(backend, num_tokens, config.num_heads * config.head_dim)),
      k(activation(backend, num_tokens, config.num_kv_heads * config.head_dim)),
      v(activation(backend, num_tokens, config.num_kv_heads * config.head_dim)),
      attended(activation(backend, num_tokens, config.num_heads * config.head_dim)) {}

Gqa::Gqa(const Loader& load, const ModelConfig& config, int64_t window)
    : eps_(static_cast<float>(config.rms_norm_eps)), carries_residual_(load.world().is_first()) {
  shape_.num_heads = static_cast<int>(config.num_heads);
  shape_.num_kv_heads = static_cast<int>(config.num_kv_heads);
  shape_.head_dim = static_cast<int>(config.head_dim);
  shape_.scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  shape_.window = static_cast<int>(std::min(window, config.max_position));  // any int64 in a file

  const int64_t hidden = config.hidden_size;
  const int64_t q_size = config.num_heads * config.head_dim;
  const int64_t kv_size = config.num_kv_heads * config.head_dim;
  q_ = load.matrix("q_proj.weight", q_size, hidden, Split::kOut);
  k_ = load.matrix("k_proj.weight", kv_size, hidden, Split::kOut);
  v_ = load.matrix("v_proj.weight", kv_size, hidden, Split::kOut);
  o_ = load.matrix("o_proj.weight", hidden, q_size, Split::kIn);
  q_bias_ = load.bias_if(config.qkv_bias, "q_proj.bias", q_size, Split::kOut);
  k_bias_ = load.bias_if(config.qkv_bias, "k_proj.bias", kv_size, Split::kOut);
  v_bias_ = load.bias_if(config.qkv_bias, "v_proj.bias", kv_size, Split::kOut);
  o_bias_ = load.bias_if(config.o_bias, "o_proj.bias", hidden, Split::kIn);
  q_norm_ = load.vector_if(config.qk_norm, "q_norm.weight", config.head_dim);
  k_norm_ = load.vector_if(config.qk_norm, "k_norm.weight", config.head_dim);
}

void Gqa::forward(Backend& backend, Step& step, const NormedInput& in, int layer, const Rope& rope,
                  const Scratch& scratch) const {
  const auto& [q, k, v, attended] = scratch;
  const LinearTerm qkv[] = {
      {q_.get(), q_bias_.get(), q}, {k_.get(), k_bias_.get(), k}, {v_.get(), v_bias_.get(), v}};
  backend.norm_linear(in, qkv);
  backend.rotate_and_append(step, layer, q, k, v, shape_.head_dim,
                            {q_norm_.get(), k_norm_.get(), eps_}, rope);
  backend.attention(step, shape_, layer, q, attended);
}

void Gqa::project_out(Backend& backend, Matrix attended, Matrix residual) const {
  const LinearTerm o{o_.get(), o_bias_.get(), residual, carries_residual_};
  backend.linear(attended, {&o, 1});
  backend.all_reduce(residual);
}

}  // namespace hopskip
