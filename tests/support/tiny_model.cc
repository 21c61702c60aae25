#include "support/tiny_model.h"

#include <algorithm>
#include <cmath>

namespace hopskip::test {

ModelConfig tiny_config() {
  ModelConfig config;
  config.architecture = "llama";
  config.name = "tiny";
  config.hidden_size = 32;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.intermediate_size = 48;
  config.vocab_size = 48;
  config.max_position = 1024;
  config.tie_word_embeddings = true;
  return config;
}

ModelConfig tiny_moe_config() {
  ModelConfig config = tiny_config();
  config.architecture = "qwen3_moe";
  config.qk_norm = true;
  config.num_experts = 5;
  config.num_experts_per_tok = 2;
  config.moe_intermediate_size = 16;
  config.norm_topk_prob = true;
  return config;
}

TinyModel::TinyModel(const ModelConfig& config, uint32_t seed) : seed_(seed) {
  checkpoint_.path = "tiny";
  checkpoint_.format = "memory";
  checkpoint_.config = config;
  const ModelConfig& c = config;
  const int64_t q = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    add(name + ".weight", {out, in}, 1.5f / std::sqrt(static_cast<float>(in)));
    if (bias) {
      add(name + ".bias", {out}, 0.3f);
    }
  };
  add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, 1.0f);
  add("model.norm.weight", {c.hidden_size}, 1.0f);
  if (!c.tie_word_embeddings) {
    add("lm_head.weight", {c.vocab_size, c.hidden_size}, 1.0f);
  }
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm.weight", {c.hidden_size}, 1.0f);
    add(layer + "post_attention_layernorm.weight", {c.hidden_size}, 1.0f);
    linear(layer + "self_attn.q_proj", q, c.hidden_size, c.qkv_bias);
    linear(layer + "self_attn.k_proj", kv, c.hidden_size, c.qkv_bias);
    linear(layer + "self_attn.v_proj", kv, c.hidden_size, c.qkv_bias);
    linear(layer + "self_attn.o_proj", c.hidden_size, q, c.o_bias);
    if (c.qk_norm) {
      add(layer + "self_attn.q_norm.weight", {c.head_dim}, 1.0f);
      add(layer + "self_attn.k_norm.weight", {c.head_dim}, 1.0f);
    }
    const auto mlp = [&](const std::string& name, int64_t inner) {
      linear(name + "gate_proj", inner, c.hidden_size, c.mlp_bias);
      linear(name + "up_proj", inner, c.hidden_size, c.mlp_bias);
      linear(name + "down_proj", c.hidden_size, inner, c.mlp_bias);
    };
    if (!c.has_experts(i)) {
      mlp(layer + "mlp.", c.intermediate_size);
      continue;
    }
    linear(layer + "mlp.gate", c.num_experts, c.hidden_size, false);
    for (int64_t e = 0; e < c.num_experts; ++e) {
      mlp(layer + "mlp.experts." + std::to_string(e) + ".", c.moe_intermediate_size);
    }
  }
  for (const StoredTensor& tensor : tensors_) {
    TensorView view;
    view.data = tensor.bytes.data();
    view.dtype = tensor.dtype;
    view.rank = static_cast<int>(tensor.shape.size());
    std::ranges::copy(tensor.shape, view.shape.begin());
    checkpoint_.tensors.emplace(tensor.name, view);
  }
}

void TinyModel::add(const std::string& name, std::vector<int64_t> shape, float deviation) {
  tensors_.push_back(random_tensor(name, DType::kF32, std::move(shape), seed_++, deviation));
}

}  // namespace hopskip::test
