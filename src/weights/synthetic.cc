#include "weights/synthetic.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "base/check.h"

namespace hopskip {
namespace {

// Half of the distance between hot and cold scores in the first layer, nats.
constexpr double kHalfDistance = 30.0;
// ln λ at the end of the context.
constexpr double kLogThreshold = -20.0;
constexpr int kTries = 64;  // of placing the cold stretches of a head

ModelConfig base(std::string_view architecture, std::string_view name) {
  ModelConfig c;
  c.architecture = architecture;
  c.name = name;
  c.head_dim = 128;
  return c;
}

ModelConfig llama3(std::string_view name) {
  ModelConfig c = base("llama", name);
  c.vocab_size = 128256;
  c.max_position = 131072;
  c.rms_norm_eps = 1e-5;
  c.rope_theta = 500000.0;
  c.rope_scaling.type = RopeScalingType::kLlama3;
  c.rope_scaling.factor = 8.0;
  c.rope_scaling.low_freq_factor = 1.0;
  c.rope_scaling.high_freq_factor = 4.0;
  c.rope_scaling.original_max_position = 8192;
  return c;
}

// meta-llama/Llama-3.1-8B-Instruct
ModelConfig llama31_8b() {
  ModelConfig c = llama3("Llama-3.1-8B shape");
  c.hidden_size = 4096;
  c.num_layers = 32;
  c.num_heads = 32;
  c.num_kv_heads = 8;
  c.intermediate_size = 14336;
  return c;
}

// meta-llama/Llama-3.3-70B-Instruct
ModelConfig llama33_70b() {
  ModelConfig c = llama3("Llama-3.3-70B shape");
  c.hidden_size = 8192;
  c.num_layers = 80;
  c.num_heads = 64;
  c.num_kv_heads = 8;
  c.intermediate_size = 28672;
  return c;
}

// Qwen/Qwen3-8B
ModelConfig qwen3_8b() {
  ModelConfig c = base("qwen3", "Qwen3-8B shape");
  c.hidden_size = 4096;
  c.num_layers = 36;
  c.num_heads = 32;
  c.num_kv_heads = 8;
  c.intermediate_size = 12288;
  c.vocab_size = 151936;
  c.max_position = 40960;
  c.rope_theta = 1e6;
  c.qk_norm = true;
  return c;
}

// Qwen/Qwen3-30B-A3B-Instruct-2507
ModelConfig qwen3_30b_a3b() {
  ModelConfig c = base("qwen3_moe", "Qwen3-30B-A3B shape");
  c.hidden_size = 2048;
  c.num_layers = 48;
  c.num_heads = 32;
  c.num_kv_heads = 4;
  c.intermediate_size = 6144;
  c.vocab_size = 151936;
  c.max_position = 262144;
  c.rope_theta = 1e7;
  c.qk_norm = true;
  c.num_experts = 128;
  c.num_experts_per_tok = 8;
  c.moe_intermediate_size = 768;
  c.norm_topk_prob = true;
  return c;
}

// For a look at the commands on any machine.
ModelConfig tiny() {
  ModelConfig c = base("llama", "tiny shape");
  c.hidden_size = 256;
  c.num_layers = 4;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 64;
  c.intermediate_size = 512;
  c.vocab_size = 4096;
  c.max_position = 32768;
  c.rope_theta = 1e6;
  return c;
}

ModelConfig tiny_moe() {
  ModelConfig c = tiny();
  c.architecture = "qwen3_moe";
  c.name = "tiny MoE shape";
  c.qk_norm = true;
  c.num_experts = 8;
  c.num_experts_per_tok = 2;
  c.moe_intermediate_size = 128;
  c.norm_topk_prob = true;
  return c;
}

struct Shape {
  std::string_view name;
  ModelConfig (*config)();
};

constexpr Shape kShapes[] = {
    {"llama-3.1-8b", llama31_8b},   {"qwen3-8b", qwen3_8b}, {"qwen3-30b-a3b", qwen3_30b_a3b},
    {"llama-3.3-70b", llama33_70b}, {"tiny", tiny},         {"tiny-moe", tiny_moe},
};

// Writes the tensors of a checkpoint.
class Builder {
 public:
  Builder(const ModelConfig& config, uint64_t seed)
      : config_(config),
        reserved_(1 + config.num_kv_heads),
        into_residual_(1.0 / std::sqrt(2.0 * static_cast<double>(config.num_layers))),
        // q and k each have it in one element, and attention divides by √head_dim.
        mark_(static_cast<float>(
            std::sqrt(kHalfDistance * std::sqrt(static_cast<double>(config.head_dim))))),
        seed_(mix_bits(seed)) {
    check(config.hidden_size > 2 * reserved_ && config.num_kv_heads < 31 &&
              config.vocab_size >> config.num_kv_heads > 0,
          ErrorCode::kInvalidArgument,
          "{}: {} hidden dimensions and {} tokens have no room for the bits of {} KV heads",
          config.name, config.hidden_size, config.vocab_size, config.num_kv_heads);
    result_.config = config;
    result_.path = config.name;  // in errors: "tiny shape: …"
    result_.format = "random";
  }

  Checkpoint build() && {
    RandomTensor embedding = normal(config_.hidden_size, 1.0);
    embedding.bit_cols = static_cast<int32_t>(config_.num_kv_heads);
    add("model.embed_tokens.weight", config_.vocab_size, embedding);
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      const std::string layer = fmt::format("model.layers.{}.", i);
      add_vector(layer + "input_layernorm.weight", config_.hidden_size, ones());
      add_attention(layer + "self_attn.", i);
      add_vector(layer + "post_attention_layernorm.weight", config_.hidden_size, ones());
      add_feed_forward(layer + "mlp.", i);
    }
    add_vector("model.norm.weight", config_.hidden_size, ones());
    if (!config_.tie_word_embeddings) {
      add("lm_head.weight", config_.vocab_size, reads(config_.hidden_size));
    }
    return std::move(result_);
  }

 private:
  RandomTensor normal(int64_t cols, double deviation) {
    RandomTensor t;
    t.seed = mix_bits(seed_++);
    t.cols = cols;
    t.deviation = static_cast<float>(deviation);
    return t;
  }
  // Of inputs of variance 1: outputs of variance 1. From the hidden state, but for what is
  // reserved.
  RandomTensor reads(int64_t cols) {
    RandomTensor t = normal(cols, 1.0 / std::sqrt(static_cast<double>(cols)));
    t.zero_cols = reserved_;
    return t;
  }
  // The same into the residual stream.
  RandomTensor writes(int64_t cols) {
    RandomTensor t = normal(cols, into_residual_ / std::sqrt(static_cast<double>(cols)));
    t.zero_rows = reserved_;
    return t;
  }
  static RandomTensor ones() {
    RandomTensor t;
    t.constant = 1.0f;
    return t;
  }

  // In each head, the rotary pair of the lowest frequency: its first element is marked.
  RandomTensor marked(RandomTensor t, float mark) const {
    const auto head_dim = static_cast<int32_t>(config_.head_dim);
    t.period = head_dim;
    t.marked_row = config_.rope_interleaved ? head_dim - 2 : head_dim / 2 - 1;
    t.mark = mark;
    return t;
  }
  RandomTensor marked_projection() {
    RandomTensor t = marked(reads(config_.hidden_size), config_.qk_norm ? 1.0f : mark_);
    t.blank_row = static_cast<int32_t>(config_.head_dim) - 1;
    return t;
  }

  void add_attention(const std::string& prefix, int64_t layer) {
    const int64_t q_size = config_.num_heads * config_.head_dim;
    const int64_t kv_size = config_.num_kv_heads * config_.head_dim;
    add(prefix + "q_proj.weight", q_size, marked_projection());
    RandomTensor k = marked_projection();
    k.first_mark = 1;
    k.shift = static_cast<int32_t>(layer);
    k.cycle = static_cast<int32_t>(config_.num_kv_heads);
    add(prefix + "k_proj.weight", kv_size, k);
    add(prefix + "v_proj.weight", kv_size, reads(config_.hidden_size));
    add(prefix + "o_proj.weight", config_.hidden_size, writes(q_size));
    if (config_.qk_norm) {
      add_vector(prefix + "q_norm.weight", config_.head_dim, marked(ones(), mark_));
      add_vector(prefix + "k_norm.weight", config_.head_dim, marked(ones(), mark_));
    }
  }

  void add_feed_forward(const std::string& prefix, int64_t layer) {
    if (!config_.has_experts(layer)) {
      add_mlp(prefix, config_.intermediate_size);
      return;
    }
    add(prefix + "gate.weight", config_.num_experts, reads(config_.hidden_size));
    for (int64_t e = 0; e < config_.num_experts; ++e) {
      add_mlp(fmt::format("{}experts.{}.", prefix, e), config_.moe_intermediate_size);
    }
  }

  void add_mlp(const std::string& prefix, int64_t inner) {
    add(prefix + "gate_proj.weight", inner, reads(config_.hidden_size));
    add(prefix + "up_proj.weight", inner, reads(config_.hidden_size));
    add(prefix + "down_proj.weight", config_.hidden_size, writes(inner));
  }

  void add(const std::string& name, int64_t rows, const RandomTensor& values) {
    TensorView& view = result_.tensors[name];
    view.dtype = DType::kBF16;
    view.rank = 2;
    view.shape = {rows, values.cols};
    view.random = values;
  }
  void add_vector(const std::string& name, int64_t size, const RandomTensor& values) {
    TensorView& view = result_.tensors[name];
    view.dtype = DType::kBF16;
    view.rank = 1;
    view.shape = {size};
    view.random = values;
  }

  const ModelConfig& config_;
  const int64_t reserved_;
  const double into_residual_;
  const float mark_;
  uint64_t seed_;
  Checkpoint result_;
};

// Which stretches of one KV head are cold.
std::vector<bool> cold_stretches(int64_t count, double share, std::mt19937_64& random) {
  std::vector<bool> best(count, false);
  const auto cold = std::min<int64_t>(std::llround(share * static_cast<double>(count)), count - 2);
  if (cold <= 0) {
    return best;
  }
  std::vector<int64_t> places(count - 2);
  std::iota(places.begin(), places.end(), 1);
  double best_error = INFINITY;
  for (int i = 0; i < kTries; ++i) {
    // A stretch is visible from its own rows, half of it, and from all that follow.
    double visible = 0.0;
    for (int64_t j = 0; j < cold; ++j) {
      const auto other = j + static_cast<int64_t>(random() % (places.size() - j));
      std::swap(places[j], places[other]);
      visible += static_cast<double>(count - places[j]) - 0.5;
    }
    const double all = 0.5 * static_cast<double>(count) * static_cast<double>(count);
    const double error = std::abs(visible / all - share);
    if (error < best_error) {
      best_error = error;
      best.assign(count, false);
      for (int64_t j = 0; j < cold; ++j) {
        best[places[j]] = true;
      }
    }
  }
  return best;
}

}  // namespace

std::vector<std::string_view> synthetic_shapes() {
  std::vector<std::string_view> names;
  for (const Shape& shape : kShapes) {
    names.push_back(shape.name);
  }
  return names;
}

ModelConfig synthetic_config(std::string_view shape, int64_t layers, int64_t context) {
  const auto* found = std::ranges::find(kShapes, shape, &Shape::name);
  check(found != std::end(kShapes), ErrorCode::kInvalidArgument, "no shape '{}'; there are {}",
        shape, fmt::join(synthetic_shapes(), ", "));
  ModelConfig config = found->config();
  check(layers >= 0 && layers <= config.num_layers, ErrorCode::kInvalidArgument,
        "{} layers of {}, which has {}", layers, shape, config.num_layers);
  config.num_layers = layers == 0 ? config.num_layers : layers;
  config.max_position = std::max(config.max_position, context);
  return config;
}

Checkpoint synthetic_checkpoint(const ModelConfig& config, uint64_t seed) {
  return Builder(config, seed).build();
}

std::vector<int32_t> synthetic_prompt(const ModelConfig& config, int64_t length, double share,
                                      uint64_t seed) {
  check(share >= 0.0 && share <= 1.0, ErrorCode::kInvalidArgument,
        "a share of {}; it must lie in 0…1", share);
  std::mt19937_64 random(mix_bits(seed));
  const int64_t stretches = (length + kSyntheticStretch - 1) / kSyntheticStretch;
  const auto heads = static_cast<int>(config.num_kv_heads);
  std::vector<int32_t> bits(stretches, (1 << heads) - 1);  // hot
  for (int head = 0; head < heads; ++head) {
    const std::vector<bool> cold = cold_stretches(stretches, share, random);
    for (int64_t i = 0; i < stretches; ++i) {
      bits[i] &= cold[i] ? ~(1 << head) : ~0;
    }
  }
  std::vector<int32_t> tokens(length);
  const uint64_t others = config.vocab_size >> heads;
  for (int64_t i = 0; i < length; ++i) {
    tokens[i] = static_cast<int32_t>(random() % others << heads) | bits[i / kSyntheticStretch];
  }
  return tokens;
}

double synthetic_skip_factor(int64_t context) {
  return static_cast<double>(context) * std::exp(kLogThreshold);
}

}  // namespace hopskip
