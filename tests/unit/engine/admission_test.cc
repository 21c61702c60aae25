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

TEST(KvConfig, WithinTheHostsMemoryHoldsWhatFits) {
  const KvConfig config = kv_config(resolved({}, model()), model(), 0);
  ASSERT_EQ(config.num_pages, 16);
  struct Case {
    int64_t spare, mapped, pages;
  };
  for (const Case& c : {
           Case{1000 * kPageBytes, 0, 16}, Case{16 * kPageBytes, 0, 16},
           Case{16 * kPageBytes - 1, 0, 15}, Case{5 * kPageBytes + 1, 0, 5},
           Case{kPageBytes - 1, 0, 1},  // at least one
           Case{0, 0, 1}, Case{20 * kPageBytes, 4 * kPageBytes, 16},
           Case{20 * kPageBytes, 9 * kPageBytes, 11}, Case{40 * kPageBytes, 35 * kPageBytes, 5},
           Case{40 * kPageBytes, 39 * kPageBytes, 5},
           Case{40 * kPageBytes, 1000 * kPageBytes, 5},  // weights larger than the memory
       }) {
    EXPECT_EQ(within(config, c.spare, c.mapped).num_pages, c.pages) << c.spare << " " << c.mapped;
  }
}

TEST(LengthLimit, NamesWhatBoundsAPrompt) {
  constexpr DType kFp8 = DType::kF8E4M3;
  struct Case {
    EngineOptions options;
    int64_t kv_capacity, tokens;
    bool on_host;
    const char* text;
    const char* notice = "";
  };
  for (const Case& c : {
           Case{{.context = 64},
                64,
                64,
                true,
                "a context of 64: shorten it, or raise context, at most to 1000"},
           Case{{}, 1024, 1000, true, "a context of 1000: shorten it, the model allows no more"},
           Case{{.kv_tokens = 128},
                128,
                128,
                true,
                "a KV cache of 128 tokens: shorten it, or raise kv_tokens"},
           Case{{.context = 100, .kv_tokens = 64}, 64, 64, false, "or raise kv_tokens"},
           Case{{},
                640,
                640,
                true,
                "a KV cache of 640 tokens: shorten it, or make room for more: end other programs, "
                "or take a smaller model",
                "KV cache of 640 tokens: there is memory for no more of the context of 1000"},
           Case{{},
                640,
                640,
                false,
                "for more: kv_dtype fp8, a smaller chunk_tokens, a smaller model",
                "KV cache of 640 tokens: there is memory for no more of the context of 1000"},
           Case{{.context = 800, .kv_dtype = kFp8},
                640,
                640,
                false,
                "for more: a smaller chunk_tokens, a smaller model",
                "KV cache of 640 tokens: there is memory for no more of the context of 800"},
       }) {
    const LengthLimit limit =
        length_limit(c.options, c.kv_capacity, model().max_position, c.on_host);
    EXPECT_EQ(limit.tokens, c.tokens);
    EXPECT_NE(limit.too_long(2000).find(c.text), std::string::npos) << limit.too_long(2000);
    EXPECT_EQ(limit.notice, c.notice);
  }
}

}  // namespace
}  // namespace hopskip
