#include "hopskip/llm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "llm/generation.h"
#include "support/error_matchers.h"
#include "support/tiny_text_model.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
const GenerateParams kShort{.max_tokens = 24, .ignore_eos = true};

class LlmTest : public testing::Test {
 protected:
  LLMOptions options() const { return {.model = model_.path(), .device = "reference"}; }

  test::TinyTextModel model_;
  LLM llm_{options()};
};

TEST_F(LlmTest, KnowsTheModel) {
  const ModelInfo& info = llm_.info();
  EXPECT_EQ(info.name, "tiny");
  EXPECT_EQ(info.format, "gguf");
  EXPECT_EQ(info.num_layers, 2);
  EXPECT_EQ(info.context, 128);
  EXPECT_TRUE(info.has_chat_template);
  EXPECT_NE(info.tile_plan.prefill, "");
}

TEST_F(LlmTest, TokensAreTheTokenizersAndTextComesBack) {
  EXPECT_EQ(llm_.encode("ab"), (std::vector<int32_t>{'a', 'b'}));
  EXPECT_EQ(llm_.decode(llm_.encode("h\u00e9!")), "h\u00e9!");
  EXPECT_EQ(llm_.decode(std::vector<int32_t>{'x', test::TinyTextModel::kEnd}), "x");
  EXPECT_EQ(llm_.decode(llm_.encode(std::vector<ChatMessage>{{"u", "hi"}, {"b", "yo"}})),
            "u:hi;b:yo;a:");
}

TEST_F(LlmTest, StreamsWhatItReturns) {
  std::string streamed;
  std::vector<int32_t> tokens;
  const Output output =
      llm_.generate("hello", kShort, {.on_text = [&](std::string_view text, const SampledToken* t) {
                      streamed += text;
                      if (t != nullptr) {
                        tokens.push_back(t->id);
                      }
                    }});
  EXPECT_EQ(streamed, output.text);
  EXPECT_EQ(tokens, output.tokens);
  EXPECT_EQ(output.tokens.size(), 24);
  EXPECT_EQ(output.text, llm_.decode(output.tokens));
  EXPECT_EQ(output.finish_reason, FinishReason::kLength);
  EXPECT_EQ(output.stats.prompt_tokens, 5);
  EXPECT_EQ(output.stats.generated_tokens, 24);
  EXPECT_GT(output.stats.ttft_s(), 0.0);
  EXPECT_GT(output.stats.tpot_s(), 0.0);
}

TEST_F(LlmTest, ABatchGivesWhatOneByOneGives) {
  const std::vector<Prompt> prompts{"one", "another one", std::vector<int32_t>{1, 2, 3}};
  const std::vector<Output> together = llm_.generate(prompts, kShort);
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(together[i].tokens, llm_.generate(prompts[i], kShort).tokens) << i;
  }
}

TEST_F(LlmTest, EndsBeforeAStopString) {
  const Output free = llm_.generate("hello", kShort);
  ASSERT_GE(free.text.size(), 10);
  GenerateParams params = kShort;
  params.stop = {free.text.substr(6, 3)};
  std::string streamed;
  const Output output = llm_.generate(
      "hello", params,
      {.on_text = [&](std::string_view text, const SampledToken*) { streamed += text; }});
  EXPECT_EQ(output.text, free.text.substr(0, free.text.find(params.stop[0])));
  EXPECT_EQ(streamed, output.text);
  EXPECT_EQ(output.finish_reason, FinishReason::kStop);
  EXPECT_LT(output.tokens.size(), free.tokens.size());
}

TEST(Llm, AnIdBeyondTheTokenizersVocabularyHasNoText) {
  const test::TinyTextModel padded(5000);
  LLM llm({.model = padded.path(), .device = "reference"});
  const Output output = llm.generate("hello", kShort);
  EXPECT_EQ(output.tokens.size(), 24);
  EXPECT_GT(*std::max_element(output.tokens.begin(), output.tokens.end()), padded.kEnd);
}

TEST(Llm, ARequestThatFailsSaysWhatTheEngineSays) {
  Generation::State state({}, {});
  Event last;
  last.finish = FinishReason::kError;
  last.error = "a step needs 5 GB more";
  last.error_code = ErrorCode::kOutOfMemory;
  state.finish(last);
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "a step needs 5 GB more", state.result.get());
}

TEST(Llm, SaysThatAProfileIsNotUsed) {
  const test::TinyTextModel model;
  const test::TemporaryFolder folder;
  test::write_file(folder / "p.json", std::string_view(R"({"config_groups": {"g": {
      "threshold_scale_factor": {"prefill": {"a": 1, "b": 1}}}}})"));
  LLM llm({.model = model.path(), .device = "reference", .profile = folder / "p.json"});
  EXPECT_THAT(llm.generate("hello", kShort).stats.notices,
              testing::ElementsAre(testing::HasSubstr("p.json is not used")));
}

TEST_F(LlmTest, CancelEndsARequest) {
  GenerateParams endless{.max_tokens = 1000, .ignore_eos = true};
  Generation generation = llm_.submit("hello", endless);
  generation.cancel();
  const Output output = generation.wait();
  EXPECT_EQ(output.finish_reason, FinishReason::kCancelled);
  EXPECT_LT(output.tokens.size(), 123);
  EXPECT_EQ(llm_.generate("hello", kShort).tokens.size(), 24);  // and nothing else
}

TEST_F(LlmTest, DestructionCancelsWhatRuns) {
  auto llm = std::make_unique<LLM>(options());
  Generation generation = llm->submit("hello", {.max_tokens = 100, .ignore_eos = true});
  llm.reset();
  generation.cancel();
  EXPECT_TRUE(generation.wait_for(0.0));
  EXPECT_EQ(generation.wait().finish_reason, FinishReason::kCancelled);
}

TEST_F(LlmTest, WhatAHandlerThrowsComesOutOfWait) {
  const GenerateEvents events{.on_text = [](std::string_view, const SampledToken*) {
    throw std::runtime_error("reader gone");
  }};
  Generation generation = llm_.submit("hello", kShort, events);
  EXPECT_THROW(generation.wait(), std::runtime_error);
  EXPECT_EQ(llm_.generate("hello", kShort).tokens.size(), 24);
}

TEST_F(LlmTest, PromptLogprobsCoverThePromptOnce) {
  std::vector<float> logprobs;
  const Output output =
      llm_.generate("some words", {.max_tokens = 0},
                    {.on_prompt_logprobs = [&](int64_t begin, std::span<const float> block) {
                      EXPECT_EQ(begin, static_cast<int64_t>(logprobs.size()));
                      logprobs.insert(logprobs.end(), block.begin(), block.end());
                    }});
  EXPECT_EQ(logprobs.size(), 9);
  EXPECT_TRUE(output.tokens.empty());
  for (float logprob : logprobs) {
    EXPECT_LT(logprob, 0.0f);
  }
}

TEST_F(LlmTest, ARequestMayBringItsOwnSparsity) {
  GenerateParams sparse = kShort;
  sparse.sparse_attention = {.threshold_scale_factor = PerPhase<double>{50.0, 20.0}};
  const Output output = llm_.generate("hello", sparse);
  EXPECT_EQ(output.stats.phases.prefill.threshold_scale_factor, 50.0);
  EXPECT_EQ(output.stats.phases.decode.threshold_scale_factor, 20.0);
  EXPECT_THAT(output.stats.notices, testing::ElementsAre(testing::HasSubstr("clamped to 1")));
  EXPECT_EQ(llm_.generate("hello", kShort).stats.phases.prefill.threshold_scale_factor, 0.0);
}

TEST_F(LlmTest, RefusesBadRequests) {
  EXPECT_ERROR(kInvalid, "prompt is empty", llm_.generate(""));
  EXPECT_ERROR(kInvalid, "conversation is empty", llm_.generate(std::vector<ChatMessage>{}));
  EXPECT_ERROR(kInvalid, "500 tokens, which is too long for a context of 128",
               llm_.generate(std::string(500, 'x')));
  EXPECT_ERROR(kInvalid, "token id 999", llm_.generate(std::vector<int32_t>{999}));
  EXPECT_ERROR(kInvalid, "token id -1", llm_.generate(std::vector<int32_t>{-1}));
  EXPECT_ERROR(kInvalid, "max_tokens is -1", llm_.generate("x", {.max_tokens = -1}));
  EXPECT_ERROR(kInvalid, "stop string", llm_.generate("x", {.stop = {""}}));
  EXPECT_ERROR(kInvalid, "top_p", llm_.generate("x", {.sampling = {.top_p = 2.0}}));
  GenerateParams params;
  params.sparse_attention = {.target_sparsity = PerPhase<double>{0.5, 0.5}};
  EXPECT_ERROR(kInvalid, "needs a profile", llm_.generate("x", params));
}

TEST(Llm, NamesTheTypeOfTheKvCache) {
  const test::TinyTextModel model;
  const auto open = [&](const char* dtype) {
    return LLM({.model = model.path(), .device = "reference", .kv_dtype = dtype}).info().kv_dtype;
  };
  EXPECT_EQ(open("auto"), "bf16");
  EXPECT_EQ(open("bfloat16"), "bf16");
  EXPECT_EQ(open("half"), "f16");
  EXPECT_EQ(open("fp8"), "fp8");
  EXPECT_EQ(open("fp8_e4m3"), "fp8");
  EXPECT_ERROR(kInvalid, "there are: auto, bf16, f16, fp8", open("fp8_e5m2"));
}

TEST(Llm, GeneratesOverAnFp8Cache) {
  const test::TinyTextModel model;
  LLM llm({.model = model.path(), .device = "reference", .kv_dtype = "fp8"});
  const Output output = llm.generate("hello", kShort);
  EXPECT_EQ(output.tokens.size(), 24);
  EXPECT_EQ(output.tokens, llm.generate("hello", kShort).tokens);
}

TEST(Llm, ParametersCanBeCheckedWithoutAModel) {
  EXPECT_NO_THROW(validate(GenerateParams{}));
  const auto bad = [](auto change) {
    GenerateParams params;
    change(params);
    return params;
  };
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "max_tokens is -1",
               validate(bad([](GenerateParams& p) { p.max_tokens = -1; })));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "top_p is 2",
               validate(bad([](GenerateParams& p) { p.sampling.top_p = 2.0; })));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "a stop string is empty",
               validate(bad([](GenerateParams& p) { p.stop = {""}; })));
}

TEST_F(LlmTest, RefusesBadOptions) {
  const auto open = [&](auto change) {
    LLMOptions bad = options();
    change(bad);
    LLM llm(bad);
  };
  EXPECT_ERROR(kInvalid, "no device 'tpu'", open([](auto& o) { o.device = "tpu"; }));
  EXPECT_ERROR(kInvalid, "'cuda:' is not cuda:N", open([](auto& o) { o.device = "cuda:"; }));
  EXPECT_ERROR(ErrorCode::kUnsupported, "'cuda:99' does not run here",
               open([](auto& o) { o.device = "cuda:99"; }));
  EXPECT_ERROR(kInvalid, "threads is -1", open([](auto& o) { o.threads = -1; }));
  EXPECT_ERROR(kInvalid, "no dtype 'f8'", open([](auto& o) { o.kv_dtype = "f8"; }));
  EXPECT_ERROR(kInvalid, "needs a profile", open([](auto& o) {
                 o.sparse_attention.target_sparsity = {0.5, 0.5};
               }));
  EXPECT_ERROR(ErrorCode::kNotFound, "/no/profile.json",
               open([](auto& o) { o.profile = "/no/profile.json"; }));
}

}  // namespace
}  // namespace hopskip
