#include <gtest/gtest.h>

#include <string>

#include "hopskip/llm.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

LLMOptions read(const std::string& yaml) {
  LLMOptions options;
  apply_yaml(yaml, "test.yaml", options);
  return options;
}

TEST(OptionsYaml, ReadsTensorRtLlmsForm) {
  const LLMOptions options = read(
      "sparse_attention_config:\n"
      "  algorithm: skip_softmax\n"
      "  threshold_scale_factor: {prefill: 1000.0, decode: 500.0}\n"
      "kv_cache_config:\n"
      "  dtype: f16\n"
      "  enable_block_reuse: false\n"
      "max_seq_len: 4096\n");
  EXPECT_EQ(options.sparse_attention.threshold_scale_factor, (PerPhase<double>{1000.0, 500.0}));
  EXPECT_FALSE(options.sparse_attention.target_sparsity);
  EXPECT_EQ(options.kv_dtype, "f16");
  EXPECT_FALSE(options.prefix_reuse);
  EXPECT_EQ(options.context, 4096);
}

TEST(OptionsYaml, TheTypeOfTheKvCacheHasTheNamesInUse) {
  EXPECT_EQ(read("kv_dtype: fp8").kv_dtype, "fp8");
  EXPECT_EQ(read("kv_cache_dtype: fp8_e4m3").kv_dtype, "fp8_e4m3");
  EXPECT_EQ(read("kv_cache_config: {dtype: fp8}").kv_dtype, "fp8");
}

TEST(OptionsYaml, OneNumberIsForBothPhases) {
  EXPECT_EQ(read("sparse_attention_config: {threshold_scale_factor: 7}")
                .sparse_attention.threshold_scale_factor,
            (PerPhase<double>{7.0, 7.0}));
  EXPECT_EQ(
      read("sparse_attention_config: {target_sparsity: 0.5}").sparse_attention.target_sparsity,
      (PerPhase<double>{0.5, 0.5}));
}

TEST(OptionsYaml, LaterDocumentsChangeOnlyWhatTheyName) {
  LLMOptions options = read("{threads: 3, sparse_attention_config: {threshold_scale_factor: 7}}");
  apply_yaml("sparse_attention_config: {threshold_scale_factor: {decode: 2}}", "b", options);
  EXPECT_EQ(options.threads, 3);
  EXPECT_EQ(options.sparse_attention.threshold_scale_factor, (PerPhase<double>{7.0, 2.0}));
  apply_yaml("sparse_attention_config: {target_sparsity: 0.25}", "c", options);
  EXPECT_FALSE(options.sparse_attention.threshold_scale_factor);
  EXPECT_EQ(options.sparse_attention.target_sparsity, (PerPhase<double>{0.25, 0.25}));
}

TEST(OptionsYaml, EmptyDocumentChangesNothing) {
  EXPECT_EQ(read("").device, "auto");
  EXPECT_EQ(read("# only a comment").device, "auto");
}

TEST(OptionsYaml, NamesWhatIsWrong) {
  struct Case {
    const char* yaml;
    const char* message;
  };
  const Case cases[] = {
      {"treads: 2", "unknown key 'treads' (did you mean 'threads'?)"},
      {"sparse_attention_config: {target_sparsty: 0.5}",
       "did you mean 'sparse_attention_config.target_sparsity'?"},
      {"zzzzzzzzzzzz: 1", "unknown key 'zzzzzzzzzzzz'"},
      {"sparse_attention_config: {algorithm: rocket}", "must be skip_softmax, not 'rocket'"},
      {"sparse_attention_config: 5", "sparse_attention_config must be a map, not '5'"},
      {"sparse_attention_config: {threshold_scale_factor: {prefil: 1}}",
       "unknown key 'sparse_attention_config.threshold_scale_factor.prefil'"},
      {"sparse_attention_config: {threshold_scale_factor: much}", "not 'much'"},
      {"sparse_attention_config: {threshold_scale_factor: -1}", "must be finite and not negative"},
      {"sparse_attention_config: {threshold_scale_factor: .nan}", "is nan"},
      {"sparse_attention_config: {target_sparsity: 1.5}", "target_sparsity for prefill is 1.5"},
      {"sparse_attention_config: {threshold_scale_factor: 1, target_sparsity: 0.5}", "exclude"},
      {"threads: many", "threads must be a whole number, not negative, not 'many'"},
      {"threads: -1", "not '-1'"},
      {"threads: 99999999999", "not '99999999999'"},
      {"prefix_reuse: perhaps", "must be true or false"},
      {"device: [cpu]", "device must be text, not a list"},
      {"- a\n- b", "a map of settings is wanted"},
      {"a: b: c", "line 1"},
      {"? [a]\n: 1", "test.yaml"},
      {"threads: 1\nthreads: 2", "the key 'threads' stands twice"},
      {"threads: 1\n---\nsimd: avx2", "2 YAML documents"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.yaml);
    EXPECT_ERROR(kInvalid, c.message, read(c.yaml));
    EXPECT_ERROR(kInvalid, "test.yaml: ", read(c.yaml));
  }
}

TEST(OptionsYaml, FailureLeavesTheOptionsAsTheyWere) {
  LLMOptions options;
  EXPECT_ERROR(kInvalid, "unknown key", apply_yaml("{threads: 5, nonsense: 1}", "a", options));
  EXPECT_EQ(options.threads, 0);
}

}  // namespace
}  // namespace hopskip
