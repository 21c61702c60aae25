// GGUF's metadata keys → ModelConfig and TokenizerSource. Key names: the GGUF specification; what
// they mean for a model: llama.cpp's loader and its convert_hf_to_gguf.py.
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "weights/formats.h"
#include "weights/rope_scaling.h"

namespace hopskip {
namespace {

struct Family {
  std::string_view gguf_name;
  std::string_view architecture;
  bool rope_interleaved;  // the converter permutes Q and K rows of this family only
  bool qk_norm;
  bool has_experts;
};

constexpr Family kFamilies[] = {
    {"llama", "llama", true, false, false},
    {"qwen2", "qwen2", false, false, false},
    {"qwen3", "qwen3", false, true, false},
    {"qwen3moe", "qwen3_moe", false, true, true},
};

// The keys of one architecture: "block_count" is "llama.block_count".
class Keys {
 public:
  Keys(const GgufMetadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(std::string(architecture) + ".") {}

  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  const std::string& where() const { return metadata_.where; }
  bool has(std::string_view key) const { return metadata_.has(name(key)); }

  int64_t integer(std::string_view key) const {
    const auto value = metadata_.integer(name(key));
    check(value.has_value(), ErrorCode::kNotFound, "{}: the key '{}' is missing", where(),
          name(key));
    return *value;
  }
  int64_t integer(std::string_view key, int64_t fallback) const {
    return metadata_.integer(name(key)).value_or(fallback);
  }
  double real(std::string_view key, double fallback) const {
    return metadata_.real(name(key)).value_or(fallback);
  }
  bool boolean(std::string_view key, bool fallback) const {
    return metadata_.boolean(name(key)).value_or(fallback);
  }
  std::string_view text(std::string_view key, std::string_view fallback) const {
    return metadata_.text(name(key)).value_or(fallback);
  }
  const std::vector<int64_t>* integers(std::string_view key) const {
    return metadata_.integers(name(key));
  }

 private:
  const GgufMetadata& metadata_;
  std::string prefix_;
};

const Family& family_of(const GgufMetadata& metadata) {
  const auto architecture = metadata.text("general.architecture");
  check(architecture.has_value(), ErrorCode::kNotFound,
        "{}: the key 'general.architecture' is missing", metadata.where);
  for (const Family& family : kFamilies) {
    if (family.gguf_name == *architecture) {
      return family;
    }
  }
  fail(ErrorCode::kUnsupported,
       "{}: architecture '{}'; supported are llama, qwen2, qwen3 and qwen3moe", metadata.where,
       *architecture);
}

RopeScaling rope_scaling(const Keys& keys, int64_t max_position) {
  RopeScaling scaling;
  // llama.cpp's defaults: without a type the scaling is linear, and a factor of 0 means none.
  const std::string_view type = keys.text("rope.scaling.type", "linear");
  const double factor = keys.real("rope.scaling.factor", keys.real("rope.scale_linear", 0.0));
  const double used_factor = factor == 0.0 ? 1.0 : factor;
  if (type == "none" || (type == "linear" && used_factor == 1.0)) {
    return scaling;
  }
  scaling.factor = used_factor;
  if (type == "linear") {
    scaling.type = RopeScalingType::kLinear;
    return scaling;
  }
  check(type == "yarn", ErrorCode::kUnsupported,
        "{}: rope scaling '{}'; supported are none, linear and yarn", keys.where(), type);
  check(keys.real("rope.scaling.yarn_log_multiplier", 0.0) == 0.0 &&
            keys.real("rope.scaling.yarn_ext_factor", 1.0) == 1.0,
        ErrorCode::kUnsupported,
        "{}: yarn with yarn_log_multiplier or yarn_ext_factor is not supported", keys.where());
  scaling.type = RopeScalingType::kYarn;
  scaling.original_max_position =
      keys.integer("rope.scaling.original_context_length", max_position);
  scaling.beta_fast = keys.real("rope.scaling.yarn_beta_fast", 32.0);
  scaling.beta_slow = keys.real("rope.scaling.yarn_beta_slow", 1.0);
  // GGUF's attn_factor multiplies the customary factor; Hugging Face's attention_factor replaces
  // it.
  scaling.attention_factor =
      keys.real("rope.scaling.attn_factor", 1.0) * yarn_mscale(scaling.factor);
  return scaling;
}

std::vector<float> rope_freq_factors(const Checkpoint& tensors) {
  const TensorView* view = tensors.find("rope_freqs.weight");
  if (view == nullptr) {
    return {};
  }
  check(view->dtype == DType::kF32 && view->rank == 1 && view->elements() <= 4096,
        ErrorCode::kCorrupt, "{}: tensor 'rope_freqs.weight' is no short list of F32",
        tensors.path);
  const float* first = view->as<float>();
  return {first, first + view->elements()};
}

void read_sliding_window(const Keys& keys, ModelConfig* config) {
  config->sliding_window = keys.integer("attention.sliding_window", 0);
  if (config->sliding_window <= 0) {
    return;
  }
  config->layer_slides.assign(config->num_layers, true);
  if (!keys.has("attention.sliding_window_pattern")) {
    return;
  }
  const auto* pattern = keys.integers("attention.sliding_window_pattern");
  check(static_cast<int64_t>(pattern->size()) == config->num_layers, ErrorCode::kCorrupt,
        "{}: a sliding-window pattern of {} for {} layers", keys.where(), pattern->size(),
        config->num_layers);
  std::transform(pattern->begin(), pattern->end(), config->layer_slides.begin(),
                 [](int64_t slides) { return slides != 0; });
}

// llama.cpp's qwen3moe: every layer has experts, and where no key says otherwise, a softmax weighs
// them and the weights of a token's experts are scaled to sum to 1.
void read_experts(const Keys& keys, ModelConfig* config) {
  constexpr int64_t kSoftmax = 1;  // of expert_gating_func; 0: not said
  const int64_t gating = keys.integer("expert_gating_func", kSoftmax);
  check((gating == kSoftmax || gating == 0) && keys.integer("expert_shared_count", 0) == 0 &&
            keys.integer("expert_group_count", 0) <= 1 &&
            keys.integer("leading_dense_block_count", 0) == 0,
        ErrorCode::kUnsupported,
        "{}: shared experts, groups of experts, leading dense layers and gates other than softmax "
        "are not supported",
        keys.where());
  const double scale = keys.real("expert_weights_scale", 1.0);
  check(scale == 1.0 || scale == 0.0, ErrorCode::kUnsupported,
        "{}: 'expert_weights_scale' {} is not supported", keys.where(), scale);
  config->num_experts = keys.integer("expert_count");
  check(config->num_experts > 0, ErrorCode::kCorrupt, "{}: '{}' is {}", keys.where(),
        keys.name("expert_count"), config->num_experts);
  config->num_experts_per_tok = keys.integer("expert_used_count");
  config->moe_intermediate_size = keys.integer("expert_feed_forward_length");
  config->norm_topk_prob = keys.boolean("expert_weights_norm", true);
}

std::optional<int32_t> token_id(const GgufMetadata& metadata, std::string_view key) {
  const auto id = metadata.integer(key);
  if (!id || *id == std::numeric_limits<uint32_t>::max()) {  // −1 written as unsigned: none
    return std::nullopt;
  }
  check(*id >= 0 && *id < 1 << 20, ErrorCode::kCorrupt, "{}: '{}' is {}, no token", metadata.where,
        key, *id);
  return static_cast<int32_t>(*id);
}

}  // namespace

ModelConfig gguf_model_config(const GgufMetadata& metadata, const Checkpoint& tensors) {
  const Family& family = family_of(metadata);
  const Keys keys(metadata, family.gguf_name);
  check(family.has_experts || keys.integer("expert_count", 0) == 0, ErrorCode::kUnsupported,
        "{}: a mixture of experts of architecture '{}'; supported are those of qwen3moe",
        metadata.where, family.gguf_name);

  ModelConfig config;
  config.architecture = family.architecture;
  config.name = metadata.text("general.name").value_or("");
  config.hidden_size = keys.integer("embedding_length");
  config.num_layers = keys.integer("block_count");
  config.num_heads = keys.integer("attention.head_count");
  config.num_kv_heads = keys.integer("attention.head_count_kv", config.num_heads);
  check(config.num_heads > 0 && config.num_layers > 0 && config.num_layers <= 1024,
        ErrorCode::kCorrupt, "{}: {} layers of {} heads", metadata.where, config.num_layers,
        config.num_heads);
  config.head_dim = keys.integer("attention.key_length", config.hidden_size / config.num_heads);
  config.intermediate_size = keys.integer("feed_forward_length");
  config.max_position = keys.integer("context_length");
  config.rms_norm_eps = keys.real("attention.layer_norm_rms_epsilon", 1e-6);
  check(keys.integer("attention.value_length", config.head_dim) == config.head_dim &&
            keys.integer("rope.dimension_count", config.head_dim) == config.head_dim,
        ErrorCode::kUnsupported,
        "{}: keys, values and rope of different widths (head_dim {}) are not supported",
        metadata.where, config.head_dim);
  // Some files have no vocab_size key; the embedding always tells.
  config.vocab_size = tensors.get("model.embed_tokens.weight").shape[0];

  config.rope_theta = keys.real("rope.freq_base", 10000.0);
  config.rope_scaling = rope_scaling(keys, config.max_position);
  config.rope_freq_factors = rope_freq_factors(tensors);
  config.rope_interleaved = family.rope_interleaved;
  read_sliding_window(keys, &config);
  if (family.has_experts) {
    read_experts(keys, &config);
  }

  const auto first_layer_has = [&](std::string_view name) {
    return tensors.find("model.layers.0." + std::string(name)) != nullptr;
  };
  config.qk_norm = family.qk_norm;
  config.qkv_bias = first_layer_has("self_attn.q_proj.bias");
  config.o_bias = first_layer_has("self_attn.o_proj.bias");
  config.mlp_bias = first_layer_has("mlp.down_proj.bias");
  config.tie_word_embeddings = tensors.find("lm_head.weight") == nullptr;

  config.bos_id = token_id(metadata, "tokenizer.ggml.bos_token_id");
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    const auto id = token_id(metadata, key);
    if (id && std::count(config.eos_ids.begin(), config.eos_ids.end(), *id) == 0) {
      config.eos_ids.push_back(*id);
    }
  }
  return config;
}

TokenizerSource gguf_tokenizer(const GgufMetadata& metadata) {
  TokenizerSource source;
  const auto* tokens = metadata.texts("tokenizer.ggml.tokens");
  if (tokens == nullptr) {
    return source;
  }
  source.kind = TokenizerSource::Kind::kGguf;
  source.tokens = *tokens;
  source.model = metadata.text("tokenizer.ggml.model").value_or("");
  source.pre = metadata.text("tokenizer.ggml.pre").value_or("");
  source.chat_template = metadata.text("tokenizer.chat_template").value_or("");
  if (const auto* types = metadata.integers("tokenizer.ggml.token_type")) {
    check(std::all_of(types->begin(), types->end(),
                      [](int64_t type) { return type >= 0 && type <= 6; }),
          ErrorCode::kCorrupt, "{}: a token type is not in 0..6", metadata.where);
    source.token_types.assign(types->begin(), types->end());
  }
  check(source.token_types.empty() || source.token_types.size() == source.tokens.size(),
        ErrorCode::kCorrupt, "{}: {} token types for {} tokens", metadata.where,
        source.token_types.size(), source.tokens.size());
  if (const auto* merges = metadata.texts("tokenizer.ggml.merges")) {
    source.merges = *merges;
  }
  source.bos_id = token_id(metadata, "tokenizer.ggml.bos_token_id");
  source.eos_id = token_id(metadata, "tokenizer.ggml.eos_token_id");
  source.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token");
  source.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token");
  return source;
}

}  // namespace hopskip
