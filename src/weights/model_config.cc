#include "weights/model_config.h"

#include <cmath>
#include <span>

#include "base/check.h"

namespace hopskip {
namespace {

struct SizeRow {
  const char* name;
  int64_t ModelConfig::*field;
  int64_t most;
};

constexpr SizeRow kSizes[] = {
    {"hidden_size", &ModelConfig::hidden_size, 1 << 20},
    {"num_layers", &ModelConfig::num_layers, 1024},
    {"num_heads", &ModelConfig::num_heads, 4096},
    {"num_kv_heads", &ModelConfig::num_kv_heads, 4096},
    {"head_dim", &ModelConfig::head_dim, 4096},
    {"intermediate_size", &ModelConfig::intermediate_size, 1 << 24},
    {"vocab_size", &ModelConfig::vocab_size, 1 << 20},
    {"max_position", &ModelConfig::max_position, 1 << 30},
};

// Of a model with experts.
constexpr SizeRow kExpertSizes[] = {
    {"num_experts", &ModelConfig::num_experts, 4096},
    {"num_experts_per_tok", &ModelConfig::num_experts_per_tok, 4096},
    {"moe_intermediate_size", &ModelConfig::moe_intermediate_size, 1 << 24},
};

struct RealRow {
  const char* name;
  double value;
};

void check_sizes(std::span<const SizeRow> rows, const ModelConfig& config,
                 const std::string& where) {
  for (const SizeRow& row : rows) {
    const int64_t value = config.*row.field;
    check(value >= 1 && value <= row.most, ErrorCode::kCorrupt, "{}: {} is {}; it must be 1..{}",
          where, row.name, value, row.most);
  }
}

void check_id(int32_t id, const char* name, const ModelConfig& config, const std::string& where) {
  check(id >= 0 && id < config.vocab_size, ErrorCode::kCorrupt,
        "{}: {} token {} is outside the vocabulary of {}", where, name, id, config.vocab_size);
}

void validate_rope(const ModelConfig& config, const std::string& where) {
  const RopeScaling& rope = config.rope_scaling;
  for (const RealRow& row :
       {RealRow{"rope_theta", config.rope_theta}, RealRow{"rope factor", rope.factor},
        RealRow{"attention_factor", rope.attention_factor},
        RealRow{"low_freq_factor", rope.low_freq_factor},
        RealRow{"high_freq_factor", rope.high_freq_factor}, RealRow{"beta_fast", rope.beta_fast},
        RealRow{"beta_slow", rope.beta_slow}}) {
    check(std::isfinite(row.value) && row.value > 0, ErrorCode::kCorrupt,
          "{}: {} is {}; it must be positive and finite", where, row.name, row.value);
  }
  if (rope.type == RopeScalingType::kLlama3) {
    check(rope.high_freq_factor > rope.low_freq_factor, ErrorCode::kCorrupt,
          "{}: high_freq_factor {} is not above low_freq_factor {}", where, rope.high_freq_factor,
          rope.low_freq_factor);
  }
  if (rope.type == RopeScalingType::kLlama3 || rope.type == RopeScalingType::kYarn) {
    check(rope.original_max_position > 0 && rope.original_max_position <= 1 << 30,
          ErrorCode::kCorrupt, "{}: original_max_position {} is not in 1..2^30", where,
          rope.original_max_position);
  }
  check(config.rope_freq_factors.empty() ||
            static_cast<int64_t>(config.rope_freq_factors.size()) == config.head_dim / 2,
        ErrorCode::kCorrupt, "{}: {} rope frequency factors for head_dim {}; {} are needed", where,
        config.rope_freq_factors.size(), config.head_dim, config.head_dim / 2);
  for (const float factor : config.rope_freq_factors) {
    check(std::isfinite(factor) && factor > 0, ErrorCode::kCorrupt,
          "{}: the rope frequency factor {} is not positive and finite", where, factor);
  }
}

void validate_experts(const ModelConfig& config, const std::string& where) {
  if (config.num_experts == 0) {
    return;
  }
  check_sizes(kExpertSizes, config, where);
  check(config.num_experts_per_tok <= config.num_experts, ErrorCode::kCorrupt,
        "{}: a token goes to {} of {} experts", where, config.num_experts_per_tok,
        config.num_experts);
  check(config.layer_dense.empty() || std::ssize(config.layer_dense) == config.num_layers,
        ErrorCode::kCorrupt, "{}: {} layers are dense or not, of {}", where,
        config.layer_dense.size(), config.num_layers);
}

}  // namespace

void validate(const ModelConfig& config, const std::string& where) {
  check_sizes(kSizes, config, where);
  check(config.num_heads % config.num_kv_heads == 0, ErrorCode::kCorrupt,
        "{}: {} attention heads do not share {} key heads evenly", where, config.num_heads,
        config.num_kv_heads);
  check(config.head_dim % 2 == 0, ErrorCode::kCorrupt, "{}: head_dim {} is odd", where,
        config.head_dim);
  check(std::isfinite(config.rms_norm_eps) && config.rms_norm_eps >= 0, ErrorCode::kCorrupt,
        "{}: rms_norm_eps {} is no small positive number", where, config.rms_norm_eps);
  check(config.layer_slides.empty() ||
            static_cast<int64_t>(config.layer_slides.size()) == config.num_layers,
        ErrorCode::kCorrupt, "{}: {} layer kinds for {} layers", where, config.layer_slides.size(),
        config.num_layers);
  check(config.layer_slides.empty() || config.sliding_window > 0, ErrorCode::kCorrupt,
        "{}: a sliding window of {} keys", where, config.sliding_window);
  validate_experts(config, where);
  validate_rope(config, where);
  if (config.bos_id) {
    check_id(*config.bos_id, "bos", config, where);
  }
  for (const int32_t id : config.eos_ids) {
    check_id(id, "eos", config, where);
  }
}

}  // namespace hopskip
