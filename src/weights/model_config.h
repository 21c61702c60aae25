// What a checkpoint says about its model, in one form for every file format.
#ifndef HOPSKIP_WEIGHTS_MODEL_CONFIG_H_
#define HOPSKIP_WEIGHTS_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hopskip {

enum class RopeScalingType { kNone, kLinear, kLlama3, kYarn };

// Names and meanings are those of transformers' rope_scaling / rope_parameters.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1.0;
  int64_t original_max_position = 0;  // llama3 and yarn: the context the model was trained for
  double low_freq_factor = 1.0;       // llama3
  double high_freq_factor = 4.0;      // llama3
  double beta_fast = 32.0;            // yarn
  double beta_slow = 1.0;             // yarn
  bool truncate = true;               // yarn: round the correction range to whole dimensions
  // yarn: what cos and sin are multiplied with. Always resolved here: the file's own value, or
  // mscale(factor, mscale) / mscale(factor, mscale_all_dim), or 0.1 ln(factor) + 1.
  double attention_factor = 1.0;
};

struct ModelConfig {
  std::string architecture;  // "llama", "qwen2", "qwen3" or "qwen3_moe"
  std::string name;          // for people; may be empty

  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;      // even
  int64_t intermediate_size = 0;
  int64_t vocab_size = 0;
  int64_t max_position = 0;  // longest context the checkpoint claims
  double rms_norm_eps = 1e-6;

  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  // GGUF stores llama3 scaling as finished factors: empty, or [head_dim / 2] values by which the
  // inverse frequencies are divided, on top of rope_scaling (which is then kNone).
  std::vector<float> rope_freq_factors;
  // True: pairs are (2i, 2i + 1), as in GGUF files of architecture "llama", whose Q and K rows the
  // converter has permuted. False: pairs are (i, i + head_dim / 2), as in every Hugging Face file.
  bool rope_interleaved = false;

  // A query sees the last `sliding_window` keys, itself included, in the layers where layer_slides
  // is true. layer_slides is empty when no layer slides.
  int64_t sliding_window = 0;
  std::vector<bool> layer_slides;
  int64_t window(int64_t layer) const {  // 0: the layer sees everything
    return layer_slides.empty() || !layer_slides[layer] ? 0 : sliding_window;
  }

  // Mixture of experts (qwen3_moe); without experts the model is dense. layer_dense is empty when
  // every layer has experts; a layer without has a feed-forward block of intermediate_size.
  int64_t num_experts = 0;
  int64_t num_experts_per_tok = 0;    // 1..num_experts
  int64_t moe_intermediate_size = 0;  // of one expert
  bool norm_topk_prob = false;        // the weights of a token's experts are scaled to sum to 1
  std::vector<bool> layer_dense;
  bool has_experts(int64_t layer) const {
    return num_experts > 0 && (layer_dense.empty() || !layer_dense[layer]);
  }

  bool qk_norm = false;              // RMS norm of each head's q and k before rope (qwen3)
  bool qkv_bias = false;             // q_proj, k_proj, v_proj have a bias (qwen2)
  bool o_bias = false;               // o_proj has a bias
  bool mlp_bias = false;             // gate_proj, up_proj, down_proj have a bias
  bool tie_word_embeddings = false;  // lm_head.weight is model.embed_tokens.weight

  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;  // any of them ends a generation; may be empty

  // The JSON text of config.json's sparse_attention_config; empty when there is none.
  std::string sparse_attention_config;
};

// Throws Corrupt, naming the field and `where`, when a size is out of the caps (layers ≤ 1024,
// vocab ≤ 1 M), does not fit the others, or an id is not below vocab_size.
void validate(const ModelConfig& config, const std::string& where);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_MODEL_CONFIG_H_
