#include "model_flags.h"

#include <fmt/format.h>

#include <cstdlib>

#include "attention/profile.h"
#include "base/check.h"
#include "environment.h"
#include "files.h"
#include "flag_checks.h"
#include "progress.h"

namespace hopskip::apps {
namespace {

constexpr const char* kModelGroup = "Model and machine";
constexpr const char* kSparseGroup = "Skip Softmax";

double parse_number(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  check(!text.empty() && end == text.c_str() + text.size(), ErrorCode::kInvalidArgument,
        "{}: '{}' is not a number; give N or prefill=N,decode=M", flag, text);
  return value;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// "a.b=v" as a YAML document.
std::string setting_to_yaml(const std::string& setting) {
  const size_t equals = setting.find('=');
  check(equals != std::string::npos && equals > 0, ErrorCode::kInvalidArgument,
        "--set {}: give KEY=VALUE, e.g. sparse_attention_config.threshold_scale_factor=30",
        setting);
  std::string yaml;
  std::string indent;
  for (const std::string& key : split(setting.substr(0, equals), '.')) {
    yaml += (indent.empty() ? "" : "\n") + indent + key + ":";
    indent += "  ";
  }
  return yaml + " " + setting.substr(equals + 1);
}

template <typename T>
void assign(const std::optional<T>& flag, T& option) {
  if (flag) {
    option = *flag;
  }
}

}  // namespace

PerPhase<double> parse_per_phase(const std::string& flag, const std::string& text,
                                 PerPhase<double> values) {
  if (text.find('=') == std::string::npos) {
    const double both = parse_number(flag, text);
    return {both, both};
  }
  for (const std::string& part : split(text, ',')) {
    const size_t equals = part.find('=');
    const std::string name = part.substr(0, equals);
    check(equals != std::string::npos && (name == "prefill" || name == "decode"),
          ErrorCode::kInvalidArgument, "{}: '{}' is neither prefill=NUMBER nor decode=NUMBER", flag,
          part);
    values[name == "prefill" ? Phase::kPrefill : Phase::kDecode] =
        parse_number(flag, part.substr(equals + 1));
  }
  return values;
}

std::vector<PerPhase<double>> parse_per_phase_list(const std::string& flag,
                                                   const std::vector<std::string>& items) {
  std::vector<PerPhase<double>> list;
  for (const std::string& item : items) {
    const bool named = item.find('=') != std::string::npos;
    for (const std::string& part : named ? std::vector{item} : split(item, ',')) {
      list.push_back(parse_per_phase(flag, part));
    }
  }
  return list;
}

ModelFlags::ModelFlags(CLI::App& app, ModelFlagParts parts) {
  if (parts.model) {
    app.add_option("MODEL", model_, "A .gguf file, a folder, smollm2-135m or a hub id")
        ->check(is_model())
        ->required(parts.model_required);
  }
  const CLI::Range tokens(int64_t{1}, int64_t{1} << 30);
  const auto add = [&](const char* name, auto& value, const char* help, const char* group) {
    return app.add_option(name, value, help)->group(group);
  };
  add("--device", device_,
      "auto (a GPU, else the CPU), cuda, cuda:N, cpu or reference (slow, for checking)",
      kModelGroup)
      ->type_name("NAME");
  add("--kv-dtype,--kv-cache-dtype,--dtype", kv_dtype_,
      "KV cache: auto (bf16), bf16, f16 (cpu) or fp8 (cuda, half the memory)", kModelGroup)
      ->type_name("NAME");
  add("--simd", simd_, "CPU instruction set, e.g. avx2; default: the best", kModelGroup)
      ->type_name("NAME");
  if (parts.context) {
    add("--ctx", context_, "Longest prompt + output in tokens; default: the model's", kModelGroup)
        ->check(tokens)
        ->type_name("TOKENS");
  }
  add("--kv-tokens", kv_tokens_,
      "Tokens the KV cache holds; default: one full context, or what fits", kModelGroup)
      ->check(tokens)
      ->type_name("TOKENS");
  add("--chunk", chunk_, "Prompt tokens a step takes; default 2048, on a GPU 8192", kModelGroup)
      ->check(tokens)
      ->type_name("TOKENS");
  add("--threads", threads_, "CPU threads; default: all", kModelGroup)->type_name("N");
  add("--config,--extra_llm_api_options", configs_, "YAML settings, in TensorRT-LLM's form",
      kModelGroup)
      ->allow_extra_args(false)
      ->check(is_file_name())
      ->type_name("FILE");
  add("--set", settings_, "One YAML setting, e.g. kv_cache_config.dtype=fp8", kModelGroup)
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  if (parts.profile) {
    add("--profile", profile_, "Calibrated profile that --target-sparsity reads", kSparseGroup)
        ->type_name("FILE");
  }
  if (!parts.sparse) {
    return;
  }
  CLI::Option* factor =
      add("--threshold-scale-factor", factor_,
          "f: a tile is skipped below f / keys of its rows' maximum; N or prefill=N,decode=M",
          kSparseGroup)
          ->type_name("F");
  CLI::Option* target =
      add("--target-sparsity", target_,
          "Share of tiles to skip, by a profile; S or prefill=S,decode=T", kSparseGroup)
          ->type_name("S");
  app.add_flag("--dense", dense_, "Skip nothing, whatever the settings say")
      ->group(kSparseGroup)
      ->excludes(factor)
      ->excludes(target);
  factor->excludes(target);
}

LLMOptions ModelFlags::options() const {
  LLMOptions options;
  options.max_sequences = 1;  // these programs ask one thing at a time
  for (const std::string& file : configs_) {
    apply_yaml(read_file(file), file, options);
  }
  for (const std::string& setting : settings_) {
    apply_yaml(setting_to_yaml(setting), "--set " + setting, options);
  }
  options.model = model_;
  options.folders = folders_from_environment();
  assign(device_, options.device);
  assign(kv_dtype_, options.kv_dtype);
  assign(simd_, options.simd);
  assign(profile_, options.profile);
  assign(context_, options.context);
  assign(kv_tokens_, options.kv_tokens);
  assign(chunk_, options.chunk_tokens);
  assign(threads_, options.threads);
  apply_sparse_flags(options);
  return options;
}

void ModelFlags::apply_sparse_flags(LLMOptions& options) const {
  SkipSoftmaxConfig& config = options.sparse_attention;
  const PerPhase<double> none{};
  if (dense_) {
    config = {};
  }
  if (factor_) {
    config = {.threshold_scale_factor =
                  parse_per_phase("--threshold-scale-factor", *factor_,
                                  config.threshold_scale_factor.value_or(none))};
  }
  if (target_) {
    config = {.target_sparsity = parse_per_phase("--target-sparsity", *target_,
                                                 config.target_sparsity.value_or(none))};
  }
  validate(config);
}

LLM open_llm(LLMOptions options, bool shows_progress) {
  constexpr int64_t kMiB = 1 << 20;
  Progress bar(shows_progress, "load", "MiB");
  options.on_load = [&bar](int64_t done, int64_t total) { bar.update(done / kMiB, total / kMiB); };
  return LLM(std::move(options));
}

void print_notices(const ModelInfo& info) {
  for (const std::string& notice : info.notices) {
    fmt::print(stderr, "note  {}\n", notice);
  }
}

}  // namespace hopskip::apps
