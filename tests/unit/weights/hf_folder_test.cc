// Folders in Hugging Face layout: config.json, safetensors, tokenizer files.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/checkpoint_writer.h"
#include "support/error_matchers.h"
#include "weights/formats.h"

namespace hopskip {
namespace {

using nlohmann::json;
using test::random_tensor;
using test::TemporaryFolder;
using test::write_file;

json tiny_config(const std::string& model_class = "LlamaForCausalLM") {
  return {{"architectures", {model_class}},
          {"hidden_size", 64},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"intermediate_size", 128},
          {"vocab_size", 320},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"head_dim", 32},
          {"max_position_embeddings", 256},
          {"tie_word_embeddings", true}};
}

ModelConfig read(const json& config, std::string_view generation = "") {
  ModelConfig result = hf_model_config(config.dump(), generation, "config.json");
  validate(result, "config.json");
  return result;
}

json changed(json config, const char* key, json value) {
  config[key] = std::move(value);
  return config;
}

TEST(HfConfig, ReadsTheCommonFields) {
  const ModelConfig config = read(tiny_config());
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_layers, 4);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.intermediate_size, 128);
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.max_position, 256);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.rope_theta, 10000.0);
  EXPECT_FALSE(config.rope_interleaved);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_EQ(config.eos_ids, std::vector<int32_t>{2});
}

TEST(HfConfig, TakesDefaultsForAbsentAndNullFields) {
  json config = tiny_config();
  for (const char* key : {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta",
                          "bos_token_id", "eos_token_id", "tie_word_embeddings"}) {
    config[key] = nullptr;
  }
  const ModelConfig result = read(config);
  EXPECT_EQ(result.num_kv_heads, 4);
  EXPECT_EQ(result.head_dim, 16);
  EXPECT_EQ(result.rms_norm_eps, 1e-6);
  EXPECT_EQ(result.rope_theta, 10000.0);
  EXPECT_EQ(result.bos_id, std::nullopt);
  EXPECT_TRUE(result.eos_ids.empty());
  EXPECT_FALSE(result.tie_word_embeddings);
}

TEST(HfConfig, KnowsWhatDiffersBetweenFamilies) {
  const ModelConfig qwen2 = read(tiny_config("Qwen2ForCausalLM"));
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.o_bias || qwen2.qk_norm);
  const ModelConfig qwen3 = read(tiny_config("Qwen3ForCausalLM"));
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_FALSE(qwen3.qkv_bias);
  const ModelConfig biased = read(changed(tiny_config(), "attention_bias", true));
  EXPECT_TRUE(biased.qkv_bias && biased.o_bias);
}

json tiny_moe_config() {
  json config = tiny_config("Qwen3MoeForCausalLM");
  config["num_experts"] = 8;
  config["num_experts_per_tok"] = 2;
  config["moe_intermediate_size"] = 48;
  return config;
}

TEST(HfConfig, ReadsAMixtureOfExperts) {
  const ModelConfig config = read(tiny_moe_config());
  EXPECT_EQ(config.architecture, "qwen3_moe");
  EXPECT_TRUE(config.qk_norm);
  EXPECT_EQ(config.num_experts, 8);
  EXPECT_EQ(config.num_experts_per_tok, 2);
  EXPECT_EQ(config.moe_intermediate_size, 48);
  EXPECT_FALSE(config.norm_topk_prob);
  EXPECT_TRUE(config.has_experts(0) && config.has_experts(3));
  EXPECT_TRUE(read(changed(tiny_moe_config(), "norm_topk_prob", true)).norm_topk_prob);
  json renamed = changed(tiny_moe_config(), "num_local_experts", 8);
  renamed.erase("num_experts");
  EXPECT_EQ(read(renamed).num_experts, 8);
  EXPECT_FALSE(read(changed(tiny_moe_config(), "num_experts", 0)).has_experts(0));
  EXPECT_FALSE(read(tiny_config("Qwen3ForCausalLM")).has_experts(0));
}

TEST(HfConfig, KnowsTheDenseLayersOfAMixture) {
  json config = changed(tiny_moe_config(), "decoder_sparse_step", 2);
  const auto sparse_layers = [&] {
    std::vector<int64_t> layers;
    for (int64_t i = 0; i < 4; ++i) {
      if (read(config).has_experts(i)) {
        layers.push_back(i);
      }
    }
    return layers;
  };
  EXPECT_EQ(sparse_layers(), (std::vector<int64_t>{1, 3}));
  config["mlp_only_layers"] = {0, 3};
  EXPECT_EQ(sparse_layers(), (std::vector<int64_t>{1}));
  config["decoder_sparse_step"] = 1;
  EXPECT_EQ(sparse_layers(), (std::vector<int64_t>{1, 2}));
  config["mlp_only_layers"] = nullptr;
  EXPECT_EQ(sparse_layers(), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(HfConfig, ReadsRopeScalingOldAndNew) {
  const json llama3 = {{"rope_type", "llama3"},  {"factor", 8.0},
                       {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                       {"rope_theta", 500000.0}, {"original_max_position_embeddings", 64}};
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const ModelConfig config = read(changed(tiny_config(), key, llama3));
    EXPECT_EQ(config.rope_scaling.type, RopeScalingType::kLlama3);
    EXPECT_EQ(config.rope_scaling.factor, 8.0);
    EXPECT_EQ(config.rope_scaling.original_max_position, 64);
    EXPECT_EQ(config.rope_theta, 500000.0);
  }
  const ModelConfig linear =
      read(changed(tiny_config(), "rope_scaling", {{"type", "linear"}, {"factor", 2.0}}));
  EXPECT_EQ(linear.rope_scaling.type, RopeScalingType::kLinear);
  EXPECT_EQ(linear.rope_scaling.factor, 2.0);
  const ModelConfig plain = read(
      changed(tiny_config(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}}));
  EXPECT_EQ(plain.rope_scaling.type, RopeScalingType::kNone);
  EXPECT_EQ(plain.rope_theta, 7.0);
  EXPECT_ERROR(ErrorCode::kUnsupported, "rope type 'dynamic'",
               read(changed(tiny_config(), "rope_scaling", {{"type", "dynamic"}})));
}

TEST(HfConfig, ResolvesYarnsAttentionFactor) {
  json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  const auto factor_of = [&] {
    return read(changed(tiny_config(), "rope_scaling", yarn)).rope_scaling.attention_factor;
  };
  EXPECT_NEAR(factor_of(), 0.1 * std::log(4.0) + 1.0, 1e-12);
  yarn["mscale"] = 2.0;
  yarn["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(factor_of(), (0.2 * std::log(4.0) + 1.0) / (0.1 * std::log(4.0) + 1.0), 1e-12);
  yarn["attention_factor"] = 1.5;
  EXPECT_EQ(factor_of(), 1.5);
}

TEST(HfConfig, ReadsSlidingWindows) {
  json config = tiny_config("Qwen2ForCausalLM");
  config["sliding_window"] = 32;
  EXPECT_EQ(read(config).window(3), 0);
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 2;
  EXPECT_EQ(read(config).window(1), 0);
  EXPECT_EQ(read(config).window(2), 32);
  config["layer_types"] = {"sliding_attention", "full_attention", "full_attention",
                           "full_attention"};
  EXPECT_EQ(read(config).window(0), 32);
  EXPECT_EQ(read(config).window(3), 0);
  json mixture = tiny_moe_config();  // with a window in all layers or in none
  mixture["sliding_window"] = 32;
  mixture["max_window_layers"] = 2;
  EXPECT_EQ(read(mixture).window(3), 0);
  mixture["use_sliding_window"] = true;
  EXPECT_EQ(read(mixture).window(0), 32);
  config["layer_types"] = {"full_attention"};
  EXPECT_ERROR(ErrorCode::kCorrupt, "'layer_types' does not list 4 layers", read(config));
}

TEST(HfConfig, CollectsEndTokensOfBothFiles) {
  const ModelConfig config =
      read(changed(tiny_config(), "eos_token_id", {2, 5}), R"({"eos_token_id": [5, 7]})");
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{2, 5, 7}));
}

TEST(HfConfig, KeepsTheSparseAttentionSection) {
  const json sparse = {{"config_groups", {{"group_0", {{"algorithm", "skip_softmax"}}}}}};
  const ModelConfig config = read(changed(tiny_config(), "sparse_attention_config", sparse));
  EXPECT_EQ(json::parse(config.sparse_attention_config), sparse);
  EXPECT_EQ(read(tiny_config()).sparse_attention_config, "");
}

TEST(HfConfig, QuantisedKeysAndValuesAreFine) {
  const json only_kv = json::parse(R"({"quant_method": "compressed-tensors", "config_groups": {},
      "kv_cache_scheme": {"num_bits": 8, "type": "float", "strategy": "tensor"}})");
  EXPECT_EQ(read(changed(tiny_config(), "quantization_config", only_kv)).num_layers,
            read(tiny_config()).num_layers);
}

TEST(HfConfig, NamesTheFieldThatIsWrong) {
  const struct {
    const char* key;
    json value;
    ErrorCode code;
    const char* message;
  } kCases[] = {
      {"hidden_size", nullptr, ErrorCode::kNotFound, "'hidden_size' is missing"},
      {"hidden_size", "64", ErrorCode::kCorrupt, "'hidden_size' is not a whole number"},
      {"hidden_size", 64.5, ErrorCode::kCorrupt, "'hidden_size' is not a whole number"},
      {"hidden_size", -64, ErrorCode::kCorrupt, "hidden_size is -64"},
      {"num_hidden_layers", 1025, ErrorCode::kCorrupt, "1025 layers"},
      {"num_key_value_heads", 3, ErrorCode::kCorrupt, "share 3 key heads"},
      {"vocab_size", (1 << 20) + 1, ErrorCode::kCorrupt, "vocab_size"},
      {"vocab_size", 1e300, ErrorCode::kCorrupt, "'vocab_size' is not a whole number"},
      {"head_dim", 33, ErrorCode::kCorrupt, "head_dim 33 is odd"},
      {"rope_theta", 0, ErrorCode::kCorrupt, "rope_theta is 0"},
      {"eos_token_id", 320, ErrorCode::kCorrupt, "eos token 320"},
      {"eos_token_id", "x", ErrorCode::kCorrupt, "'eos_token_id' is no token"},
      {"tie_word_embeddings", 1, ErrorCode::kCorrupt, "not true or false"},
      {"architectures", json::array(), ErrorCode::kCorrupt, "'architectures'"},
      {"architectures", {"GPT2LMHeadModel"}, ErrorCode::kUnsupported, "GPT2LMHeadModel"},
      {"hidden_act", "gelu", ErrorCode::kUnsupported, "activation 'gelu'"},
      {"quantization_config", json::object(), ErrorCode::kUnsupported, "use a GGUF file"},
      {"quantization_config",
       json::parse(R"({"quant_method": "compressed-tensors", "config_groups": {"group_0": {}},
                       "kv_cache_scheme": {"num_bits": 8, "type": "float"}})"),
       ErrorCode::kUnsupported, "use a GGUF file"},
      {"quantization_config",
       json::parse(R"({"quant_method": "compressed-tensors", "config_groups": {},
                       "kv_cache_scheme": {"num_bits": 8, "type": "int"}})"),
       ErrorCode::kUnsupported, "use a GGUF file"},
      {"partial_rotary_factor", 0.5, ErrorCode::kUnsupported, "part of a head"},
      {"rope_scaling", 3, ErrorCode::kCorrupt, "'rope_scaling': a JSON object is expected"},
  };
  for (const auto& row : kCases) {
    EXPECT_ERROR(row.code, row.message, read(changed(tiny_config(), row.key, row.value)));
  }
}

TEST(HfConfig, NamesTheFieldOfAMixtureThatIsWrong) {
  const struct {
    const char* key;
    json value;
    ErrorCode code;
    const char* message;
  } kCases[] = {
      {"num_experts", nullptr, ErrorCode::kNotFound, "'num_experts' is missing"},
      {"num_experts", -1, ErrorCode::kCorrupt, "num_experts is -1; it must be 1..4096"},
      {"num_experts", 1e9, ErrorCode::kCorrupt, "num_experts is 1000000000"},
      {"num_local_experts", "8", ErrorCode::kCorrupt, "'num_local_experts' is not a whole number"},
      {"num_experts_per_tok", nullptr, ErrorCode::kNotFound, "'num_experts_per_tok' is missing"},
      {"num_experts_per_tok", 0, ErrorCode::kCorrupt, "num_experts_per_tok is 0"},
      {"num_experts_per_tok", 9, ErrorCode::kCorrupt, "a token goes to 9 of 8 experts"},
      {"moe_intermediate_size", 0, ErrorCode::kCorrupt, "moe_intermediate_size is 0"},
      {"norm_topk_prob", 1, ErrorCode::kCorrupt, "not true or false"},
      {"decoder_sparse_step", 0, ErrorCode::kCorrupt, "'decoder_sparse_step' is 0"},
      {"mlp_only_layers", 1, ErrorCode::kCorrupt, "'mlp_only_layers' is no list"},
      {"mlp_only_layers", {4}, ErrorCode::kCorrupt, "holds 4, which is none of 4 layers"},
      {"mlp_only_layers", {-1}, ErrorCode::kCorrupt, "holds -1, which is none of 4 layers"},
      {"mlp_only_layers", {"a"}, ErrorCode::kCorrupt, "which is none of 4 layers"},
  };
  for (const auto& row : kCases) {
    EXPECT_ERROR(row.code, row.message, read(changed(tiny_moe_config(), row.key, row.value)));
  }
}

TEST(HfConfig, RefusesBrokenJson) {
  const auto refuse = [](std::string_view text, const char* message) {
    EXPECT_ERROR(ErrorCode::kCorrupt, message, hf_model_config(text, "", "config.json"));
  };
  refuse("", "config.json: no valid JSON (at byte");
  refuse("{\"a\": }", "config.json: no valid JSON (at byte 7 of 7)");
  refuse("[1]", "config.json");
  refuse("{\"a\": 1, \"a\": 2}", "the key 'a' stands twice");
  refuse("{\"a\": 1e999}", "no double can hold");
  refuse(std::string(1 << 20, '['), "nested deeper than 64 levels");
  std::string objects;
  for (int i = 0; i < 100000; ++i) {
    objects += "{\"a\":";
  }
  refuse(objects, "nested deeper than 64 levels");
  refuse("{\"a\": \"[[[[\\\"[[[[\"}", "'architectures'");
}

// ---- safetensors ----

Checkpoint add(std::span<const std::byte> bytes) {
  Checkpoint checkpoint;
  add_safetensors(bytes, "x.safetensors", &checkpoint);
  return checkpoint;
}

TEST(Safetensors, ReadsEveryTypeInPlace) {
  const auto f32 = random_tensor("f32", DType::kF32, {2, 3}, 1);
  const auto f16 = random_tensor("f16", DType::kF16, {4}, 2);
  const auto bf16 = random_tensor("bf16", DType::kBF16, {1, 2, 2, 2}, 3);
  const auto bytes = test::safetensors_bytes({f32, f16, bf16});
  const Checkpoint checkpoint = add(bytes);
  EXPECT_EQ(checkpoint.tensors.size(), 3u);
  EXPECT_TRUE(checkpoint.copies.empty());
  for (const auto& stored : {f32, f16, bf16}) {
    const TensorView& view = checkpoint.get(stored.name);
    EXPECT_EQ(view.dtype, stored.dtype);
    EXPECT_EQ(view.rank, static_cast<int>(stored.shape.size()));
    EXPECT_EQ(std::memcmp(view.data, stored.bytes.data(), stored.bytes.size()), 0);
    EXPECT_TRUE(view.data >= bytes.data() && view.data < bytes.data() + bytes.size());
  }
}

TEST(Safetensors, CopiesWhatIsMisaligned) {
  const auto half = random_tensor("a", DType::kF16, {1}, 1);
  const auto single = random_tensor("b", DType::kF32, {3}, 2);
  const auto bytes = test::safetensors_bytes({half, single});
  const Checkpoint checkpoint = add(bytes);
  EXPECT_EQ(checkpoint.copies.size(), 1u);
  const TensorView& view = checkpoint.get("b");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % 4, 0u);
  EXPECT_EQ(std::memcmp(view.data, single.bytes.data(), single.bytes.size()), 0);
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const auto bytes = test::safetensors_bytes(
      {random_tensor("a", DType::kF32, {8}, 1), random_tensor("b", DType::kF16, {8}, 2)});
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_ERROR(ErrorCode::kCorrupt, "x.safetensors", add(cut));
  }
}

TEST(Safetensors, RefusesHeadersThatLie) {
  const std::vector<std::byte> data(64);
  const struct {
    const char* header;
    ErrorCode code;
    const char* message;
  } kCases[] = {
      {R"([])", ErrorCode::kCorrupt, "no object"},
      {R"({"a": 1})", ErrorCode::kCorrupt, "tensor 'a'"},
      {R"({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}})",
       ErrorCode::kUnsupported, "tensor 'a' has type 'F8_E4M3'"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}})", ErrorCode::kCorrupt,
       "takes 12 bytes"},
      {R"({"a": {"dtype": "F32", "shape": [17], "data_offsets": [0, 68]}})", ErrorCode::kCorrupt,
       "does not lie inside"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}})", ErrorCode::kCorrupt,
       "does not lie inside"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}})", ErrorCode::kCorrupt,
       "no natural number"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0]}})", ErrorCode::kCorrupt,
       "does not lie inside"},
      {R"({"a": {"dtype": "F32", "shape": [1,1,1,1,4], "data_offsets": [0, 16]}})",
       ErrorCode::kCorrupt, "'shape' is no list of at most 4"},
      {R"({"a": {"dtype": "F32", "shape": [4611686018427387904, 8], "data_offsets": [0, 0]}})",
       ErrorCode::kCorrupt, "impossible shape"},
      {R"({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}})", ErrorCode::kCorrupt,
       "impossible shape"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
           "b": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}})",
       ErrorCode::kCorrupt, "'a' and 'b' overlap"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
           "a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]}})",
       ErrorCode::kCorrupt, "'a' stands twice"},
  };
  for (const auto& row : kCases) {
    EXPECT_ERROR(row.code, row.message, add(test::safetensors_raw(row.header, data)));
  }
  test::Bytes giant;
  giant.put<uint64_t>(~0ull).put<uint64_t>(0);
  EXPECT_ERROR(ErrorCode::kCorrupt, "a header of", add(giant.span()));
}

// ---- folders ----

TEST(HfFolder, OpensOneFileWithItsTokenizer) {
  const TemporaryFolder folder;
  write_file(folder / "config.json", tiny_config().dump());
  write_file(folder / "model.safetensors",
             test::safetensors_bytes({random_tensor("model.norm.weight", DType::kF32, {64}, 1)}));
  write_file(folder / "tokenizer.json", std::string_view("{}"));
  write_file(folder / "tokenizer_config.json", std::string_view(R"({"chat_template": "old"})"));
  Checkpoint checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint.format, "safetensors");
  EXPECT_EQ(checkpoint.get("model.norm.weight", {64}).dtype, DType::kF32);
  EXPECT_EQ(checkpoint.tokenizer.kind, TokenizerSource::Kind::kHuggingFace);
  EXPECT_EQ(checkpoint.tokenizer.tokenizer_json, "{}");
  EXPECT_EQ(checkpoint.tokenizer.chat_template, "old");
  write_file(folder / "tokenizer_config.json",
             std::string_view(R"({"chat_template": [{"name": "tool", "template": "t"},
                                                    {"name": "default", "template": "d"}]})"));
  EXPECT_EQ(open_checkpoint(folder.path()).tokenizer.chat_template, "d");
  write_file(folder / "chat_template.jinja", std::string_view("new"));
  EXPECT_EQ(open_checkpoint(folder.path()).tokenizer.chat_template, "new");
}

// Memory that is given back must come from the file again.
TEST(HfFolder, MarksWhatIsMapped) {
  const TemporaryFolder folder;
  const auto half = random_tensor("a", DType::kF16, {1}, 1);
  const auto single = random_tensor("b", DType::kF32, {3}, 2);  // misaligned: a copy
  write_file(folder / "config.json", tiny_config().dump());
  write_file(folder / "model.safetensors", test::safetensors_bytes({half, single}));
  const Checkpoint checkpoint = open_checkpoint(folder.path());
  EXPECT_TRUE(checkpoint.get("a").mapped);
  EXPECT_FALSE(checkpoint.get("b").mapped);
}

TEST(HfFolder, OpensShardsThroughTheIndex) {
  const TemporaryFolder folder;
  const auto index = [&](const json& map) {
    write_file(folder / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
  };
  write_file(folder / "config.json", tiny_config().dump());
  write_file(folder / "s1", test::safetensors_bytes({random_tensor("a", DType::kF32, {4}, 1)}));
  write_file(folder / "s2", test::safetensors_bytes({random_tensor("b", DType::kBF16, {4}, 2)}));
  index({{"a", "s1"}, {"b", "s2"}});
  EXPECT_EQ(open_checkpoint(folder.path()).names(), (std::vector<std::string>{"a", "b"}));
  index({{"a", "s1"}, {"c", "s2"}});
  EXPECT_ERROR(ErrorCode::kCorrupt, "tensor 'c' is not in its shard",
               open_checkpoint(folder.path()));
  index({{"a", "s1"}, {"b", "s3"}});
  EXPECT_ERROR(ErrorCode::kNotFound, "s3", open_checkpoint(folder.path()));
  for (const char* name : {"../s1", "/etc/passwd", "", "a/b"}) {
    index({{"a", name}});
    EXPECT_ERROR(ErrorCode::kCorrupt, "for a file name", open_checkpoint(folder.path()));
  }
  write_file(folder / "s2", test::safetensors_bytes({random_tensor("a", DType::kF32, {4}, 1)}));
  index({{"a", "s1"}, {"b", "s2"}});
  EXPECT_ERROR(ErrorCode::kCorrupt, "'a' stands in another file too",
               open_checkpoint(folder.path()));
}

TEST(OpenCheckpoint, SaysWhatItAccepts) {
  const TemporaryFolder folder;
  EXPECT_ERROR(ErrorCode::kNotFound, "nowhere", open_checkpoint(folder / "nowhere"));
  EXPECT_ERROR(ErrorCode::kUnsupported, "a .gguf file, or a folder",
               open_checkpoint(folder.path()));
  write_file(folder / "model.bin", std::string_view("PK some other format"));
  EXPECT_ERROR(ErrorCode::kUnsupported, "accepted are a .gguf file",
               open_checkpoint(folder / "model.bin"));
  write_file(folder / "config.json", tiny_config().dump());
  EXPECT_ERROR(ErrorCode::kNotFound, "neither model.safetensors nor",
               open_checkpoint(folder.path()));
}

}  // namespace
}  // namespace hopskip
