// config.json of transformers → ModelConfig. Field names and defaults: transformers' configuration
// classes and modeling_rope_utils.py, both the older rope_scaling and the newer rope_parameters.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "weights/formats.h"
#include "weights/json.h"
#include "weights/rope_scaling.h"

namespace hopskip {
namespace {

// Which layers slide when use_sliding_window is set.
enum class Sliding { kNever, kUpperLayers, kEveryLayer };

struct Family {
  std::string_view hf_class;
  std::string_view architecture;
  bool always_qkv_bias;  // otherwise attention_bias says, and then o_proj has one too
  bool qk_norm;
  bool has_experts;
  Sliding sliding;
  int64_t default_max_position;
};

constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", "llama", false, false, false, Sliding::kNever, 2048},
    {"Qwen2ForCausalLM", "qwen2", true, false, false, Sliding::kUpperLayers, 32768},
    {"Qwen3ForCausalLM", "qwen3", false, true, false, Sliding::kUpperLayers, 32768},
    {"Qwen3MoeForCausalLM", "qwen3_moe", false, true, true, Sliding::kEveryLayer, 32768},
};

const Family& family_of(const nlohmann::json& root, const std::string& where) {
  const auto it = root.find("architectures");
  const bool named = it != root.end() && it->is_array() && !it->empty() && it->front().is_string();
  check(named, ErrorCode::kCorrupt, "{}: 'architectures' names no model class", where);
  const auto& hf_class = it->front().get_ref<const std::string&>();
  for (const Family& family : kFamilies) {
    if (family.hf_class == hf_class) {
      return family;
    }
  }
  fail(ErrorCode::kUnsupported,
       "{}: model class '{}'; supported are LlamaForCausalLM, Qwen2ForCausalLM, "
       "Qwen3ForCausalLM and Qwen3MoeForCausalLM",
       where, hf_class);
}

double yarn_attention_factor(const JsonObject& rope, double factor) {
  const double mscale = rope.real("mscale", 0.0);
  const double mscale_all_dim = rope.real("mscale_all_dim", 0.0);
  const double inferred = mscale != 0.0 && mscale_all_dim != 0.0
                              ? yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all_dim)
                              : yarn_mscale(factor);
  return rope.real("attention_factor", inferred);
}

RopeScaling rope_scaling(const JsonObject& rope, const JsonObject& config, int64_t max_position) {
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  RopeScaling scaling;
  if (type == "default") {
    return scaling;
  }
  if (type == "linear") {
    scaling.type = RopeScalingType::kLinear;
    scaling.factor = rope.real("factor", 1.0);
    return scaling;
  }
  scaling.original_max_position =
      config.integer("original_max_position_embeddings",
                     rope.integer("original_max_position_embeddings", max_position));
  if (type == "llama3") {
    scaling.type = RopeScalingType::kLlama3;
    scaling.factor = rope.real("factor", 8.0);
    scaling.low_freq_factor = rope.real("low_freq_factor", 1.0);
    scaling.high_freq_factor = rope.real("high_freq_factor", 4.0);
    return scaling;
  }
  check(type == "yarn", ErrorCode::kUnsupported,
        "{}: rope type '{}'; supported are default, linear, llama3 and yarn", rope.where(), type);
  check(scaling.original_max_position > 0, ErrorCode::kCorrupt,
        "{}: 'original_max_position_embeddings' must be positive", rope.where());
  scaling.type = RopeScalingType::kYarn;
  scaling.factor = rope.real("factor", static_cast<double>(max_position) /
                                           static_cast<double>(scaling.original_max_position));
  scaling.beta_fast = rope.real("beta_fast", 32.0);
  scaling.beta_slow = rope.real("beta_slow", 1.0);
  scaling.truncate = rope.boolean("truncate", true);
  scaling.attention_factor = yarn_attention_factor(rope, scaling.factor);
  return scaling;
}

void read_rope(const JsonObject& config, ModelConfig* result) {
  result->rope_theta = config.real("rope_theta", 10000.0);
  std::optional<JsonObject> rope = config.object("rope_parameters");
  if (!rope) {
    rope = config.object("rope_scaling");
  }
  const double rotated = rope ? rope->real("partial_rotary_factor", 1.0) : 1.0;
  check(config.real("partial_rotary_factor", rotated) == 1.0 && rotated == 1.0,
        ErrorCode::kUnsupported, "{}: rope on part of a head is not supported", config.where());
  if (rope) {
    result->rope_theta = rope->real("rope_theta", result->rope_theta);
    result->rope_scaling = rope_scaling(*rope, config, result->max_position);
  }
}

// transformers: with use_sliding_window, the layers from max_window_layers on slide, unless
// layer_types lists each layer's kind; in qwen3_moe, which knows neither field, all of them do.
void read_sliding_window(const JsonObject& config, Sliding sliding, ModelConfig* result) {
  if (sliding == Sliding::kNever || !config.boolean("use_sliding_window", false)) {
    return;
  }
  result->sliding_window = config.integer("sliding_window", 4096);
  std::vector<bool> slides(result->num_layers);
  if (sliding == Sliding::kEveryLayer) {
    slides.assign(slides.size(), true);
  } else if (const nlohmann::json* types = config.find("layer_types")) {
    check(types->is_array() && types->size() == slides.size(), ErrorCode::kCorrupt,
          "{}: 'layer_types' does not list {} layers", config.where(), slides.size());
    for (size_t i = 0; i < slides.size(); ++i) {
      const nlohmann::json& entry = (*types)[i];
      const std::string kind = entry.is_string() ? entry.get<std::string>() : "";
      slides[i] = kind == "sliding_attention";
      check(slides[i] || kind == "full_attention", ErrorCode::kUnsupported,
            "{}: 'layer_types' has a kind other than full_attention and sliding_attention",
            config.where());
    }
  } else {
    const int64_t first = config.integer("max_window_layers", 28);
    for (size_t i = 0; i < slides.size(); ++i) {
      slides[i] = static_cast<int64_t>(i) >= first;
    }
  }
  if (std::count(slides.begin(), slides.end(), true) > 0) {
    result->layer_slides = std::move(slides);
  }
}

// transformers: a layer has experts unless mlp_only_layers names it, or its number, counted from 1,
// is no multiple of decoder_sparse_step. Its newer versions write num_experts as num_local_experts.
void read_experts(const JsonObject& config, ModelConfig* result) {
  result->num_experts =
      config.integer(config.has("num_local_experts") ? "num_local_experts" : "num_experts");
  result->num_experts_per_tok = config.integer("num_experts_per_tok");
  result->moe_intermediate_size = config.integer("moe_intermediate_size");
  result->norm_topk_prob = config.boolean("norm_topk_prob", false);
  const int64_t step = config.integer("decoder_sparse_step", 1);
  check(step >= 1, ErrorCode::kCorrupt, "{}: 'decoder_sparse_step' is {}; it must be positive",
        config.where(), step);
  std::vector<bool> dense(result->num_layers);
  for (int64_t i = 0; i < result->num_layers; ++i) {
    dense[i] = (i + 1) % step != 0;
  }
  if (const nlohmann::json* layers = config.find("mlp_only_layers")) {
    check(layers->is_array(), ErrorCode::kCorrupt, "{}: 'mlp_only_layers' is no list",
          config.where());
    for (const nlohmann::json& entry : *layers) {
      const std::optional<int64_t> layer = whole_number(entry);
      check(layer && *layer >= 0 && *layer < result->num_layers, ErrorCode::kCorrupt,
            "{}: 'mlp_only_layers' holds {}, which is none of {} layers", config.where(),
            entry.dump(), result->num_layers);
      dense[*layer] = true;
    }
  }
  if (std::count(dense.begin(), dense.end(), true) > 0) {
    result->layer_dense = std::move(dense);
  }
}

// One id, or a list of ids.
std::vector<int32_t> token_ids(const JsonObject& config, const char* key) {
  const nlohmann::json* value = config.find(key);
  std::vector<int32_t> ids;
  if (value == nullptr) {
    return ids;
  }
  const auto add = [&](const nlohmann::json& id) {
    const std::optional<int64_t> number = whole_number(id);
    check(number && *number >= 0 && *number < 1 << 20, ErrorCode::kCorrupt, "{}: '{}' is no token",
          config.where(), key);
    ids.push_back(static_cast<int32_t>(*number));
  };
  if (value->is_array()) {
    check(value->size() <= 256, ErrorCode::kCorrupt, "{}: '{}' lists {} tokens", config.where(),
          key, value->size());
    std::for_each(value->begin(), value->end(), add);
  } else {
    add(*value);
  }
  return ids;
}

// compressed-tensors with no group of quantised weights, and FP8 for K and V: their scales are
// tensors of the checkpoint.
bool quantizes_only_kv(const JsonObject& config) {
  const nlohmann::json* groups = config.find("config_groups");
  const std::optional<JsonObject> kv = config.object("kv_cache_scheme");
  return config.text("quant_method", "") == "compressed-tensors" &&
         (groups == nullptr || groups->empty()) && kv && kv->integer("num_bits", 0) == 8 &&
         kv->text("type", "") == "float";
}

void add_eos(const JsonObject& config, ModelConfig* result) {
  for (const int32_t id : token_ids(config, "eos_token_id")) {
    if (std::count(result->eos_ids.begin(), result->eos_ids.end(), id) == 0) {
      result->eos_ids.push_back(id);
    }
  }
}

}  // namespace

ModelConfig hf_model_config(std::string_view text, std::string_view generation,
                            const std::string& where) {
  const nlohmann::json root = parse_json(text, where);
  const JsonObject config(root, where);
  const Family& family = family_of(root, where);
  const std::optional<JsonObject> quantization = config.object("quantization_config");
  check(!quantization || quantizes_only_kv(*quantization), ErrorCode::kUnsupported,
        "{}: quantised Hugging Face weights are not supported; use a GGUF file", where);
  const std::string activation = config.text("hidden_act", "silu");
  check(activation == "silu", ErrorCode::kUnsupported, "{}: activation '{}'; supported is silu",
        where, activation);

  ModelConfig result;
  result.architecture = family.architecture;
  result.name = config.text("_name_or_path", "");
  result.hidden_size = config.integer("hidden_size");
  result.num_layers = config.integer("num_hidden_layers");
  result.num_heads = config.integer("num_attention_heads");
  result.num_kv_heads = config.integer("num_key_value_heads", result.num_heads);
  check(result.num_heads > 0 && result.num_layers > 0 && result.num_layers <= 1024,
        ErrorCode::kCorrupt, "{}: {} layers of {} heads", where, result.num_layers,
        result.num_heads);
  result.head_dim = config.integer("head_dim", result.hidden_size / result.num_heads);
  result.intermediate_size = config.integer("intermediate_size");
  result.vocab_size = config.integer("vocab_size");
  result.max_position = config.integer("max_position_embeddings", family.default_max_position);
  result.rms_norm_eps = config.real("rms_norm_eps", 1e-6);
  read_rope(config, &result);
  read_sliding_window(config, family.sliding, &result);
  if (family.has_experts) {
    read_experts(config, &result);
  }
  const bool attention_bias = !family.always_qkv_bias && config.boolean("attention_bias", false);
  result.qk_norm = family.qk_norm;
  result.qkv_bias = family.always_qkv_bias || attention_bias;
  result.o_bias = attention_bias;
  result.mlp_bias = config.boolean("mlp_bias", false);
  result.tie_word_embeddings = config.boolean("tie_word_embeddings", false);

  const std::vector<int32_t> bos = token_ids(config, "bos_token_id");
  if (!bos.empty()) {
    result.bos_id = bos.front();
  }
  add_eos(config, &result);
  if (!generation.empty()) {
    const nlohmann::json generation_root = parse_json(generation, "generation_config.json");
    add_eos(JsonObject(generation_root, "generation_config.json"), &result);
  }
  if (const nlohmann::json* sparse = config.find("sparse_attention_config")) {
    result.sparse_attention_config = sparse->dump();
  }
  return result;
}

}  // namespace hopskip
