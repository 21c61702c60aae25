#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/error_matchers.h"
#include "support/tiny_text_model.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

class PerplexityTest : public testing::Test {
 protected:
  PerplexityTest() {
    for (int i = 0; i < 200; ++i) {
      text_.push_back((i * i + 7 * i) % 256);
    }
  }

  test::TinyTextModel model_;
  LLM llm_{{.model = model_.path(), .device = "reference", .prefix_reuse = false}};
  std::vector<int32_t> text_;
};

TEST_F(PerplexityTest, IsTheExponentOfTheMeanNegativeLogprob) {
  double nll = 0.0;
  for (int64_t window = 0; window < 2; ++window) {
    llm_.generate(
        std::vector<int32_t>(text_.begin() + window * 50, text_.begin() + window * 50 + 50),
        {.max_tokens = 0}, {.on_prompt_logprobs = [&](int64_t, std::span<const float> logprobs) {
          for (float logprob : logprobs) {
            nll -= logprob;
          }
        }});
  }
  const PerplexityResult result = measure_perplexity(llm_, text_, {.length = 50, .windows = 2});
  EXPECT_EQ(result.scores.prefill.tokens, 98);
  EXPECT_EQ(result.scores.decode.tokens, 0);
  EXPECT_NEAR(result.perplexity(), std::exp(nll / 98), 1e-6);
  EXPECT_GT(result.perplexity(), 100.0);  // random weights know nothing of 257 tokens
  EXPECT_LT(result.perplexity(), 600.0);
}

TEST_F(PerplexityTest, DecodeGivesWhatPrefillGives) {
  const PerplexityResult once = measure_perplexity(llm_, text_, {.length = 60, .windows = 1});
  const PerplexityResult split =
      measure_perplexity(llm_, text_, {.length = 60, .windows = 1, .decode_from = 40});
  EXPECT_EQ(split.scores.prefill.tokens, 40);
  EXPECT_EQ(split.scores.decode.tokens, 19);
  EXPECT_NEAR(split.perplexity(), once.perplexity(), 1e-3 * once.perplexity());
  EXPECT_GT(split.counts.decode.tiles, 0);
  EXPECT_EQ(once.counts.decode.tiles, 0);
}

TEST_F(PerplexityTest, ReportsFactorsAndProgress) {
  int64_t last = 0;
  const PerplexityResult result = measure_perplexity(
      llm_, text_,
      {.length = 64,
       .windows = 2,
       .sparse_attention = {.threshold_scale_factor = PerPhase<double>{30.0, 10.0}},
       .decode_from = 32},
      [&](int64_t done, int64_t total) {
        EXPECT_EQ(total, 128);
        EXPECT_GE(done, last);
        last = done;
      });
  EXPECT_EQ(result.threshold_scale_factor, (PerPhase<double>{30.0, 10.0}));
  EXPECT_GT(last, 64);
}

TEST_F(PerplexityTest, RefusesWhatDoesNotFit) {
  EXPECT_ERROR(kInvalid, "must lie in 2…128", measure_perplexity(llm_, text_, {.length = 129}));
  EXPECT_ERROR(kInvalid, "must lie in 2", measure_perplexity(llm_, text_, {.length = 1}));
  EXPECT_ERROR(kInvalid, "200 tokens, which is 2 windows of 100: 3",
               measure_perplexity(llm_, text_, {.length = 100, .windows = 3}));
  EXPECT_ERROR(kInvalid, "decode from 100",
               measure_perplexity(llm_, text_, {.length = 100, .windows = 1, .decode_from = 100}));
}

}  // namespace
}  // namespace hopskip
