#include "engine/admission.h"

#include <gtest/gtest.h>

#include "support/error_matchers.h"

namespace hopskip {
namespace {

ModelConfig model() {
  ModelConfig config;
  config.num_layers = 2;
  config.num_kv_heads = 4;
  config.head_dim = 64;
  config.max_position = 1000;  // 16 pages of 64
  return config;
}

// K and V of 64 tokens in bf16.
constexpr int64_t kPageBytes = int64_t{2} * 2 * 4 * 64 * 64 * 2;

TEST(KvConfig, OnTheHostHoldsOneContext) {
  EXPECT_EQ(kv_config(resolved({}, model()), model(), 0).num_pages, 16);
  EXPECT_EQ(kv_config(resolved({.context = 128}, model()), model(), 0).num_pages, 2);
}

TEST(KvConfig, OnADeviceTakesWhatFits) {
  const EngineOptions options = resolved({.max_sequences = 8}, model());
  EXPECT_EQ(kv_config(options, model(), 100 * kPageBytes + 1).num_pages, 100);
  EXPECT_EQ(kv_config(options, model(), kPageBytes).num_pages, 1);
  EXPECT_EQ(kv_config(options, model(), 1000 * kPageBytes).num_pages, 16 * 8);
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "room for 63 tokens of KV cache",
               kv_config(options, model(), kPageBytes - 1));
}

TEST(KvConfig, InFp8HoldsTwiceTheTokens) {
  const EngineOptions options =
      resolved({.context = 500, .kv_dtype = DType::kF8E4M3, .max_sequences = 32}, model());
  const KvConfig config = kv_config(options, model(), 100 * kPageBytes);
  EXPECT_EQ(config.num_pages, 200);
  EXPECT_EQ(config.dtype, DType::kF8E4M3);
  EXPECT_EQ(config.context, 500);
}

TEST(KvConfig, AGivenSizeIsTakenAnywhere) {
  const EngineOptions options = resolved({.kv_tokens = 65}, model());
  EXPECT_EQ(kv_config(options, model(), 0).num_pages, 2);
  EXPECT_EQ(kv_config(options, model(), kPageBytes).num_pages, 2);
}

TEST(LengthLimit, NamesWhatBoundsAPrompt) {
  struct Case {
    EngineOptions options;
    int64_t kv_capacity, tokens;
    const char* text;
  };
  for (const Case& c : {
           Case{{.context = 64},
                64,
                64,
                "a context of 64: shorten it, or raise the context (--ctx, at most 1000)"},
           Case{{}, 1024, 1000, "a context of 1000: shorten it, the model allows no more"},
           Case{{.kv_tokens = 128},
                128,
                128,
                "a KV cache of 128 tokens: shorten it, or raise kv_tokens (--kv-tokens)"},
           Case{{.context = 100, .kv_tokens = 64}, 64, 64, "or raise kv_tokens (--kv-tokens)"},
           Case{{}, 640, 640, "a KV cache of 640 tokens: shorten it, or make room for more"},
       }) {
    const LengthLimit limit = length_limit(c.options, c.kv_capacity, model().max_position);
    EXPECT_EQ(limit.tokens, c.tokens);
    EXPECT_NE(limit.too_long(2000).find(c.text), std::string::npos) << limit.too_long(2000);
  }
}

}  // namespace
}  // namespace hopskip
