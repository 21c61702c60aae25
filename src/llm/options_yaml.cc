#include <yaml-cpp/yaml.h>

#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "attention/profile.h"
#include "base/check.h"
#include "hopskip/llm.h"
#include "llm/nearest.h"

namespace hopskip {
namespace {

// A node with what an error message needs to name it.
struct Value {
  YAML::Node node;
  std::string key;  // "sparse_attention_config.threshold_scale_factor"
  std::string where;

  [[noreturn]] void wrong(std::string_view wanted) const {
    const std::string found = node.IsScalar() ? "'" + node.Scalar() + "'"
                              : node.IsNull() ? "nothing"
                              : node.IsMap()  ? "a map"
                                              : "a list";
    fail(ErrorCode::kInvalidArgument, "{}: {} must be {}, not {}", where, key, wanted, found);
  }

  template <typename T>
  T as(std::string_view wanted) const {
    if (!node.IsScalar()) {
      wrong(wanted);
    }
    try {
      return node.as<T>();
    } catch (const YAML::Exception&) {
      wrong(wanted);
    }
  }

  std::string text() const { return as<std::string>("text"); }
  bool flag() const { return as<bool>("true or false"); }
  int64_t count(int64_t max = std::numeric_limits<int64_t>::max()) const {
    const auto value = as<int64_t>("a whole number, not negative");
    if (value < 0 || value > max) {
      wrong("a whole number, not negative");
    }
    return value;
  }
  // One number for both phases, or {prefill, decode}; a phase that is not named keeps its value.
  PerPhase<double> per_phase(PerPhase<double> values) const {
    if (!node.IsMap()) {
      const double both = as<double>("a number or {prefill, decode}");
      return {both, both};
    }
    for (const auto& entry : node) {
      const auto name = entry.first.as<std::string>();
      const Value value{entry.second, key + "." + name, where};
      if (name == phase_name(Phase::kPrefill)) {
        values.prefill = value.as<double>("a number");
      } else if (name == phase_name(Phase::kDecode)) {
        values.decode = value.as<double>("a number");
      } else {
        fail(ErrorCode::kInvalidArgument, "{}: unknown key '{}' (there are: prefill, decode)",
             where, value.key);
      }
    }
    return values;
  }
};

constexpr int64_t kIntMax = std::numeric_limits<int>::max();

struct Key {
  std::string_view name;
  void (*set)(const Value& value, LLMOptions& options);
};

void set_context(const Value& value, LLMOptions& o) { o.context = value.count(); }
void set_sequences(const Value& value, LLMOptions& o) {
  o.max_sequences = static_cast<int>(value.count(kIntMax));
}
void set_kv_dtype(const Value& value, LLMOptions& o) { o.kv_dtype = value.text(); }
void set_kv_tokens(const Value& value, LLMOptions& o) { o.kv_tokens = value.count(); }
void set_reuse(const Value& value, LLMOptions& o) { o.prefix_reuse = value.flag(); }
void set_chunk(const Value& value, LLMOptions& o) { o.chunk_tokens = value.count(); }

// Our own names, and those that TensorRT-LLM's files use for the same thing.
constexpr std::array kKeys{
    Key{"device", [](const Value& v, LLMOptions& o) { o.device = v.text(); }},
    Key{"threads",
        [](const Value& v, LLMOptions& o) { o.threads = static_cast<int>(v.count(kIntMax)); }},
    Key{"simd", [](const Value& v, LLMOptions& o) { o.simd = v.text(); }},
    Key{"context", set_context},
    Key{"max_seq_len", set_context},
    Key{"kv_tokens", set_kv_tokens},
    Key{"kv_cache_config.max_tokens", set_kv_tokens},
    Key{"kv_dtype", set_kv_dtype},
    Key{"dtype", set_kv_dtype},
    Key{"kv_cache_dtype", set_kv_dtype},
    Key{"kv_cache_config.dtype", set_kv_dtype},
    Key{"chunk_tokens", set_chunk},
    Key{"max_num_tokens", set_chunk},
    Key{"max_sequences", set_sequences},
    Key{"max_batch_size", set_sequences},
    Key{"prefix_reuse", set_reuse},
    Key{"kv_cache_config.enable_block_reuse", set_reuse},
    Key{"profile", [](const Value& v, LLMOptions& o) { o.profile = v.text(); }},
    Key{"sparse_attention_config.algorithm",
        [](const Value& v, LLMOptions&) {
          if (v.text() != "skip_softmax") {
            v.wrong("skip_softmax");
          }
        }},
    Key{"sparse_attention_config.threshold_scale_factor",
        [](const Value& v, LLMOptions& o) {
          o.sparse_attention.threshold_scale_factor =
              v.per_phase(o.sparse_attention.threshold_scale_factor.value_or(PerPhase<double>{}));
        }},
    Key{"sparse_attention_config.target_sparsity",
        [](const Value& v, LLMOptions& o) {
          o.sparse_attention.target_sparsity =
              v.per_phase(o.sparse_attention.target_sparsity.value_or(PerPhase<double>{}));
        }},
};

[[noreturn]] void unknown_key(const std::string& key, const std::string& where) {
  std::vector<std::string> known;
  for (const Key& entry : kKeys) {
    known.emplace_back(entry.name);
  }
  const std::string near = nearest(key, known);
  fail(ErrorCode::kInvalidArgument, "{}: unknown key '{}'{}", where, key,
       near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near));
}

void apply_map(const YAML::Node& map, const std::string& prefix, const std::string& where,
               LLMOptions& options) {
  std::set<std::string> seen;
  for (const auto& entry : map) {
    const std::string key = prefix + entry.first.as<std::string>();
    check(seen.insert(key).second, ErrorCode::kInvalidArgument, "{}: the key '{}' stands twice",
          where, key);
    const auto known = std::find_if(kKeys.begin(), kKeys.end(),
                                    [&](const Key& candidate) { return candidate.name == key; });
    if (known != kKeys.end()) {
      known->set({entry.second, key, where}, options);
      continue;
    }
    const bool is_section = std::any_of(kKeys.begin(), kKeys.end(), [&](const Key& candidate) {
      return candidate.name.starts_with(key + ".");
    });
    if (!is_section) {
      unknown_key(key, where);
    }
    if (!entry.second.IsMap()) {
      Value{entry.second, key, where}.wrong("a map");
    }
    apply_map(entry.second, key + ".", where, options);
  }
}

}  // namespace

void apply_yaml(std::string_view yaml, const std::string& where, LLMOptions& options) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    check(documents.size() <= 1, ErrorCode::kInvalidArgument,
          "{}: {} YAML documents; settings are read from one", where, documents.size());
    if (documents.empty() || documents[0].IsNull()) {
      return;
    }
    const YAML::Node& root = documents[0];
    check(root.IsMap(), ErrorCode::kInvalidArgument, "{}: a map of settings is wanted", where);
    LLMOptions changed = options;
    // What a document says of sparse attention replaces the other way of saying it.
    const YAML::Node sparse = root["sparse_attention_config"];
    if (sparse && sparse.IsMap()) {
      if (sparse["threshold_scale_factor"]) {
        changed.sparse_attention.target_sparsity.reset();
      }
      if (sparse["target_sparsity"]) {
        changed.sparse_attention.threshold_scale_factor.reset();
      }
    }
    apply_map(root, "", where, changed);
    try {
      validate(changed.sparse_attention);
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", where, error.what());
    }
    options = std::move(changed);
  } catch (const YAML::Exception& error) {
    fail(ErrorCode::kInvalidArgument, "{}: line {}: {}", where, error.mark.line + 1, error.msg);
  }
}

}  // namespace hopskip
