// From GGUF to a Checkpoint: configuration, tokenizer data, split files, a real model.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "support/error_matchers.h"
#include "support/tiny_gguf.h"
#include "tensor/quantize.h"
#include "weights/formats.h"

namespace hopskip {
namespace {

using test::GgufWriter;
using test::TemporaryFolder;
using test::write_file;

ModelConfig config_of(const GgufWriter& out) {
  const std::vector<std::byte> bytes = out.bytes();
  const GgufFile parts[] = {parse_gguf(bytes, "x.gguf")};
  return assemble_gguf(parts, "x.gguf").config;
}

TEST(GgufCheckpoint, FillsTheConfiguration) {
  GgufWriter out = test::tiny_gguf();
  out.u32("tokenizer.ggml.bos_token_id", 1);
  out.u32("tokenizer.ggml.eos_token_id", 2);
  out.u32("tokenizer.ggml.eot_token_id", 3);
  out.u32("tokenizer.ggml.eom_token_id", 2);
  const ModelConfig config = config_of(out);
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.name, "tiny");
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.intermediate_size, 64);
  EXPECT_EQ(config.vocab_size, 32);
  EXPECT_EQ(config.max_position, 128);
  EXPECT_FLOAT_EQ(static_cast<float>(config.rms_norm_eps), 1e-5f);
  EXPECT_EQ(config.rope_theta, 500000.0);
  EXPECT_TRUE(config.rope_interleaved);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.qkv_bias || config.o_bias || config.mlp_bias || config.qk_norm);
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(config.rope_scaling.type, RopeScalingType::kNone);
}

TEST(GgufCheckpoint, KnowsWhatDiffersBetweenFamilies) {
  GgufWriter qwen2 = test::tiny_gguf("qwen2");
  qwen2.tensor(test::random_tensor("blk.0.attn_q.bias", DType::kF32, {64}, 9));
  qwen2.tensor(test::random_tensor("output.weight", DType::kF32, {32, 64}, 9));
  EXPECT_FALSE(config_of(qwen2).rope_interleaved);
  EXPECT_TRUE(config_of(qwen2).qkv_bias);
  EXPECT_FALSE(config_of(qwen2).tie_word_embeddings);
  EXPECT_TRUE(config_of(test::tiny_gguf("qwen3")).qk_norm);
  EXPECT_FALSE(config_of(test::tiny_gguf("qwen3")).rope_interleaved);
  EXPECT_ERROR(ErrorCode::kUnsupported, "architecture 'mamba'; supported are llama",
               config_of(test::tiny_gguf("mamba")));
  GgufWriter experts = test::tiny_gguf();
  experts.u32("llama.expert_count", 8);
  EXPECT_ERROR(ErrorCode::kUnsupported, "mixture of experts", config_of(experts));
}

GgufWriter tiny_moe_gguf(std::string_view changed = "", uint32_t value = 0) {
  GgufWriter out = test::tiny_gguf("qwen3moe");
  for (const auto& [key, usual] : std::initializer_list<std::pair<std::string_view, uint32_t>>{
           {"expert_count", 4}, {"expert_used_count", 2}, {"expert_feed_forward_length", 32}}) {
    out.u32("qwen3moe." + std::string(key), key == changed ? value : usual);
  }
  return out;
}

TEST(GgufCheckpoint, ReadsAMixtureOfExperts) {
  const ModelConfig config = config_of(tiny_moe_gguf());
  EXPECT_EQ(config.architecture, "qwen3_moe");
  EXPECT_EQ(config.num_experts, 4);
  EXPECT_EQ(config.num_experts_per_tok, 2);
  EXPECT_EQ(config.moe_intermediate_size, 32);
  EXPECT_TRUE(config.norm_topk_prob && config.qk_norm);
  EXPECT_TRUE(config.has_experts(0) && config.has_experts(1));
  EXPECT_FALSE(config_of(test::tiny_gguf("qwen3")).has_experts(0));
  GgufWriter plain = tiny_moe_gguf();
  plain.boolean("qwen3moe.expert_weights_norm", false);
  EXPECT_FALSE(config_of(plain).norm_topk_prob);
}

TEST(GgufCheckpoint, NamesWhatIsWrongWithAMixtureOfExperts) {
  EXPECT_ERROR(ErrorCode::kNotFound, "'qwen3moe.expert_count' is missing",
               config_of(test::tiny_gguf("qwen3moe")));
  EXPECT_ERROR(ErrorCode::kCorrupt, "'qwen3moe.expert_count' is 0",
               config_of(tiny_moe_gguf("expert_count", 0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "num_experts is 5000; it must be 1..4096",
               config_of(tiny_moe_gguf("expert_count", 5000)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "a token goes to 5 of 4 experts",
               config_of(tiny_moe_gguf("expert_used_count", 5)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "num_experts_per_tok is 0",
               config_of(tiny_moe_gguf("expert_used_count", 0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "moe_intermediate_size is 0",
               config_of(tiny_moe_gguf("expert_feed_forward_length", 0)));
  for (const char* key : {"expert_gating_func", "expert_shared_count", "expert_group_count",
                          "leading_dense_block_count"}) {
    GgufWriter other = tiny_moe_gguf();
    other.u32("qwen3moe." + std::string(key), 2);
    EXPECT_ERROR(ErrorCode::kUnsupported, "are not supported", config_of(other));
  }
  GgufWriter scaled = tiny_moe_gguf();
  scaled.f32("qwen3moe.expert_weights_scale", 2.5f);
  EXPECT_ERROR(ErrorCode::kUnsupported, "'expert_weights_scale' 2.5", config_of(scaled));
}

TEST(GgufCheckpoint, TakesStackedExpertsApart) {
  for (DType dtype : {DType::kF32, DType::kQ8_0}) {
    const auto stored = test::random_tensor("blk.1.ffn_up_exps.weight", dtype, {4, 3, 64}, 9);
    GgufWriter out = tiny_moe_gguf();
    out.tensor(stored);
    const std::vector<std::byte> bytes = out.bytes();
    const GgufFile parts[] = {parse_gguf(bytes, "x.gguf")};
    const Checkpoint checkpoint = assemble_gguf(parts, "x.gguf");
    const size_t size = stored.bytes.size() / 4;
    for (size_t e = 0; e < 4; ++e) {
      const TensorView& view = checkpoint.get(
          "model.layers.1.mlp.experts." + std::to_string(e) + ".up_proj.weight", {3, 64});
      EXPECT_EQ(view.dtype, dtype);
      EXPECT_EQ(std::memcmp(view.data, &stored.bytes[e * size], size), 0);
    }
    EXPECT_EQ(checkpoint.find("model.layers.1.mlp.experts.4.up_proj.weight"), nullptr);
  }
  GgufWriter flat = tiny_moe_gguf();
  flat.tensor(test::random_tensor("blk.1.ffn_up_exps.weight", DType::kF32, {4, 64}, 9));
  EXPECT_ERROR(ErrorCode::kCorrupt, "has 2 dimensions, not 3", config_of(flat));
  GgufWriter many = tiny_moe_gguf();
  many.tensor(test::random_tensor("blk.1.ffn_up_exps.weight", DType::kF32, {300000, 1, 1}, 9));
  EXPECT_ERROR(ErrorCode::kCorrupt, "300000 experts is one too many", config_of(many));
}

TEST(GgufCheckpoint, ReadsRopeScaling) {
  GgufWriter linear = test::tiny_gguf();
  linear.text("llama.rope.scaling.type", "linear");
  linear.f32("llama.rope.scaling.factor", 4.0f);
  EXPECT_EQ(config_of(linear).rope_scaling.type, RopeScalingType::kLinear);
  EXPECT_EQ(config_of(linear).rope_scaling.factor, 4.0);

  GgufWriter none = test::tiny_gguf();
  none.text("llama.rope.scaling.type", "linear");
  none.f32("llama.rope.scaling.factor", 0.0f);
  EXPECT_EQ(config_of(none).rope_scaling.type, RopeScalingType::kNone);

  GgufWriter yarn = test::tiny_gguf("qwen2");
  yarn.text("qwen2.rope.scaling.type", "yarn");
  yarn.f32("qwen2.rope.scaling.factor", 4.0f);
  yarn.u32("qwen2.rope.scaling.original_context_length", 32);
  yarn.f32("qwen2.rope.scaling.attn_factor", 2.0f);
  const RopeScaling scaling = config_of(yarn).rope_scaling;
  EXPECT_EQ(scaling.type, RopeScalingType::kYarn);
  EXPECT_EQ(scaling.original_max_position, 32);
  EXPECT_EQ(scaling.beta_fast, 32.0);
  EXPECT_EQ(scaling.beta_slow, 1.0);
  EXPECT_NEAR(scaling.attention_factor, 2.0 * (0.1 * std::log(4.0) + 1.0), 1e-12);

  GgufWriter longrope = test::tiny_gguf();
  longrope.text("llama.rope.scaling.type", "longrope");
  EXPECT_ERROR(ErrorCode::kUnsupported, "rope scaling 'longrope'", config_of(longrope));
}

TEST(GgufCheckpoint, ReadsRopeFrequencyFactors) {
  GgufWriter out = test::tiny_gguf();
  std::vector<float> factors{1, 1, 1, 1, 2, 4, 8, 8};
  test::StoredTensor tensor{"rope_freqs.weight", DType::kF32, {8}, {}};
  tensor.bytes.resize(32);
  std::memcpy(tensor.bytes.data(), factors.data(), 32);
  out.tensor(tensor);
  EXPECT_EQ(config_of(out).rope_freq_factors, factors);
  GgufWriter wrong = test::tiny_gguf();
  wrong.tensor(test::random_tensor("rope_freqs.weight", DType::kF32, {5}, 1));
  EXPECT_ERROR(ErrorCode::kCorrupt, "5 rope frequency factors", config_of(wrong));
}

TEST(GgufCheckpoint, ReadsTheSlidingWindow) {
  GgufWriter out = test::tiny_gguf();
  out.u32("llama.attention.sliding_window", 16);
  EXPECT_EQ(config_of(out).window(0), 16);
  out.i32s("llama.attention.sliding_window_pattern", {1, 0});
  EXPECT_EQ(config_of(out).window(0), 16);
  EXPECT_EQ(config_of(out).window(1), 0);
  EXPECT_EQ(config_of(test::tiny_gguf()).window(1), 0);
}

TEST(GgufCheckpoint, RefusesConfigurationsThatMakeNoSense) {
  const auto with = [](std::string_view key, uint32_t value) {
    GgufWriter out;
    // A key that stands first is not replaced, so the others are written around it.
    for (const auto& [name, usual] : std::initializer_list<std::pair<std::string_view, uint32_t>>{
             {"llama.embedding_length", 64},
             {"llama.block_count", 2},
             {"llama.attention.head_count", 4},
             {"llama.attention.head_count_kv", 2},
             {"llama.feed_forward_length", 64},
             {"llama.context_length", 128}}) {
      out.u32(name, name == key ? value : usual);
    }
    out.text("general.architecture", "llama");
    out.u32("tokenizer.ggml.eos_token_id", key == "eos" ? value : 2);
    test::put_tensors(&out, test::tiny_tensors());
    return out;
  };
  EXPECT_NO_THROW(config_of(with("", 0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "layers", config_of(with("llama.block_count", 1025)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "heads", config_of(with("llama.attention.head_count", 0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "share 3 key heads",
               config_of(with("llama.attention.head_count_kv", 3)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "num_kv_heads",
               config_of(with("llama.attention.head_count_kv", 0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "max_position", config_of(with("llama.context_length", 0)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "hidden_size",
               config_of(with("llama.embedding_length", 1u << 30)));
  EXPECT_ERROR(ErrorCode::kCorrupt, "eos token 32", config_of(with("eos", 32)));
  GgufWriter empty;
  EXPECT_ERROR(ErrorCode::kNotFound, "general.architecture", config_of(empty));
  GgufWriter bare;
  test::put_tiny_metadata(&bare);
  EXPECT_ERROR(ErrorCode::kNotFound, "model.embed_tokens.weight", config_of(bare));
}

TEST(GgufCheckpoint, ExposesTheTokenizer) {
  GgufWriter out = test::tiny_gguf();
  out.text("tokenizer.ggml.model", "gpt2");
  out.text("tokenizer.ggml.pre", "smollm");
  out.texts("tokenizer.ggml.tokens", {"a", "b", "ab"});
  out.i32s("tokenizer.ggml.token_type", {3, 1, 1});
  out.texts("tokenizer.ggml.merges", {"a b"});
  out.boolean("tokenizer.ggml.add_bos_token", false);
  out.text("tokenizer.chat_template", "{{ x }}");
  const std::vector<std::byte> bytes = out.bytes();
  const TokenizerSource source = gguf_tokenizer(parse_gguf(bytes, "x.gguf").metadata);
  EXPECT_EQ(source.kind, TokenizerSource::Kind::kGguf);
  EXPECT_EQ(source.model, "gpt2");
  EXPECT_EQ(source.pre, "smollm");
  EXPECT_EQ(source.tokens, (std::vector<std::string_view>{"a", "b", "ab"}));
  EXPECT_EQ(source.token_types, (std::vector<int32_t>{3, 1, 1}));
  EXPECT_EQ(source.merges, (std::vector<std::string_view>{"a b"}));
  EXPECT_EQ(source.eos_id, std::nullopt);
  EXPECT_EQ(source.add_bos, false);
  EXPECT_EQ(source.add_eos, std::nullopt);
  EXPECT_EQ(source.chat_template, "{{ x }}");

  GgufWriter short_types = test::tiny_gguf();
  short_types.texts("tokenizer.ggml.tokens", {"a", "b"});
  short_types.i32s("tokenizer.ggml.token_type", {1});
  EXPECT_ERROR(ErrorCode::kCorrupt, "1 token types for 2 tokens", config_of(short_types));
  GgufWriter many = test::tiny_gguf();
  many.texts("tokenizer.ggml.tokens", std::vector<std::string>(33, "t"));
  EXPECT_ERROR(ErrorCode::kCorrupt, "33 tokens for an embedding of 32 rows", config_of(many));
}

// ---- files ----

void write_part(const TemporaryFolder& folder, std::string_view name, int part, int count,
                int tensors, std::vector<test::StoredTensor> stored, bool metadata) {
  GgufWriter out;
  if (metadata) {
    test::put_tiny_metadata(&out);
  }
  out.u16("split.no", static_cast<uint16_t>(part));
  out.u16("split.count", static_cast<uint16_t>(count));
  out.i32s("unrelated", {1});
  out.raw_pair("split.tensors.count", 5, test::Bytes().put<int32_t>(tensors).span());
  test::put_tensors(&out, std::move(stored));
  write_file(folder / name, out.bytes());
}

TEST(GgufFiles, OpensASplitModelGivenAnyPart) {
  const TemporaryFolder folder;
  const auto tensors = test::tiny_tensors();
  const int total = static_cast<int>(tensors.size());
  write_part(folder, "m-00001-of-00002.gguf", 0, 2, total, {tensors.begin(), tensors.begin() + 9},
             true);
  write_part(folder, "m-00002-of-00002.gguf", 1, 2, total, {tensors.begin() + 9, tensors.end()},
             false);
  for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
    const Checkpoint checkpoint = open_checkpoint(folder / name);
    EXPECT_EQ(checkpoint.tensors.size(), tensors.size());
    EXPECT_EQ(checkpoint.files.size(), 2u);
    const TensorView& down = checkpoint.get("model.layers.1.mlp.down_proj.weight", {64, 64});
    EXPECT_EQ(std::memcmp(down.data, tensors.back().bytes.data(), tensors.back().bytes.size()), 0);
  }
}

TEST(GgufFiles, NamesWhatIsWrongWithASplitModel) {
  const TemporaryFolder folder;
  const auto tensors = test::tiny_tensors();
  const int total = static_cast<int>(tensors.size());
  const auto first = "m-00001-of-00002.gguf", second = "m-00002-of-00002.gguf";
  write_part(folder, first, 0, 2, total, {tensors.begin(), tensors.begin() + 9}, true);
  EXPECT_ERROR(ErrorCode::kNotFound, second, open_checkpoint(folder / first));
  write_part(folder, second, 0, 2, total, {tensors.begin() + 9, tensors.end()}, false);
  EXPECT_ERROR(ErrorCode::kCorrupt, "it says that it is part 1, not 2",
               open_checkpoint(folder / first));
  write_part(folder, second, 1, 3, total, {tensors.begin() + 9, tensors.end()}, false);
  EXPECT_ERROR(ErrorCode::kCorrupt, "one of 3 parts", open_checkpoint(folder / first));
  write_part(folder, second, 1, 2, total, {tensors.begin() + 10, tensors.end()}, false);
  EXPECT_ERROR(ErrorCode::kCorrupt, "the parts hold 19 tensors, not 20",
               open_checkpoint(folder / first));
  write_part(folder, "alone.gguf", 0, 2, total, tensors, true);
  EXPECT_ERROR(ErrorCode::kCorrupt, "one of 2 parts", open_checkpoint(folder / "alone.gguf"));
}

TEST(GgufFiles, LooksUpTensorsByHuggingFaceName) {
  const TemporaryFolder folder;
  write_file(folder / "m.gguf", test::tiny_gguf("llama", DType::kQ8_0).bytes());
  const Checkpoint checkpoint = open_checkpoint(folder / "m.gguf");
  EXPECT_EQ(checkpoint.format, "gguf");
  EXPECT_EQ(checkpoint.get("model.layers.0.self_attn.k_proj.weight", {32, 64}).dtype, DType::kQ8_0);
  EXPECT_EQ(checkpoint.find("lm_head.weight"), nullptr);
  EXPECT_ERROR(ErrorCode::kNotFound, "there is no tensor 'lm_head.weight'",
               checkpoint.get("lm_head.weight"));
  EXPECT_ERROR(ErrorCode::kCorrupt, "has shape [64], not [63]",
               checkpoint.get("model.norm.weight", {63}));
  EXPECT_EQ(checkpoint.names().size(), checkpoint.tensors.size());
}

TEST(GgufFiles, OpensTheRealModel) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  std::filesystem::path cache = variable("HOPSKIP_CACHE");
  if (cache.empty()) {
    const std::filesystem::path base = variable("XDG_CACHE_HOME");
    cache = (base.empty() ? variable("HOME") / ".cache" : base) / "hopskip";
  }
  const std::filesystem::path path = cache / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << path << " is not there; `make run` fetches it";
  }
  const Checkpoint checkpoint = open_checkpoint(path);
  const ModelConfig& config = checkpoint.config;
  EXPECT_EQ(config.num_layers, 30);
  EXPECT_EQ(config.hidden_size, 576);
  EXPECT_EQ(config.num_kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.rope_theta, 100000.0);
  EXPECT_TRUE(config.tie_word_embeddings && config.rope_interleaved);
  EXPECT_EQ(config.eos_ids, std::vector<int32_t>{2});
  EXPECT_EQ(checkpoint.tensors.size(), 272u);
  EXPECT_EQ(checkpoint.tokenizer.tokens.size(), 49152u);
  EXPECT_EQ(checkpoint.tokenizer.merges.size(), 48900u);
  EXPECT_EQ(checkpoint.tokenizer.pre, "smollm");
  const TensorView& up = checkpoint.get("model.layers.29.mlp.up_proj.weight", {1536, 576});
  ASSERT_EQ(up.dtype, DType::kQ4_1);
  std::vector<float> values(up.elements());
  dequantize(up.dtype, up.data, values.data(), up.elements());
  double squares = 0;
  for (const float value : values) {
    squares += static_cast<double>(value) * value;
  }
  const double deviation = std::sqrt(squares / static_cast<double>(values.size()));
  EXPECT_GT(deviation, 0.01);
  EXPECT_LT(deviation, 1.0);
}

}  // namespace
}  // namespace hopskip
