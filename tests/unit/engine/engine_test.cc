#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "support/error_matchers.h"
#include "support/forwarding_backend.h"
#include "support/tiny_model.h"

namespace hopskip {
namespace {

using Tokens = std::vector<int32_t>;
constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

Tokens some_tokens(int64_t count) {
  Tokens tokens(count);
  for (int64_t i = 0; i < count; ++i) {
    tokens[i] = static_cast<int32_t>((i * i + 3 * i) % 47);
  }
  return tokens;
}

Request greedy(Tokens prompt, int64_t max_new_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  request.sampling.temperature = 0.0;
  return request;
}

struct Outcome {
  Tokens tokens;
  FinishReason finish{};
  SequenceStats stats;
};

class EngineTest : public testing::Test {
 protected:
  Engine make(const EngineOptions& options = {}) {
    return Engine(model_.checkpoint(), *backend_, options);
  }
  static Outcome run(Engine& engine, Request request) {
    const RequestId id = engine.add(std::move(request));
    Outcome outcome;
    while (!engine.idle()) {
      for (const Event& event : engine.step()) {
        EXPECT_EQ(event.id, id);
        if (event.token) {
          outcome.tokens.push_back(event.token->id);
        }
        if (event.finish) {
          outcome.finish = *event.finish;
          outcome.stats = *event.stats;
        }
      }
    }
    return outcome;
  }
  // The logits of every prompt position, [T][vocab].
  static std::vector<float> prompt_logits(Engine& engine, Request request,
                                          std::vector<float>* next_logprobs = nullptr) {
    std::vector<float> logits;
    int64_t position = 0;
    request.on_prompt_logits = [&](const PromptLogits& block) {
      EXPECT_EQ(block.begin, position);
      EXPECT_LE(block.rows, kPromptLogitRows);
      position += block.rows;
      logits.insert(logits.end(), block.logits.begin(), block.logits.end());
      if (next_logprobs != nullptr) {
        next_logprobs->insert(next_logprobs->end(), block.next_logprobs.begin(),
                              block.next_logprobs.end());
      }
    };
    run(engine, std::move(request));
    return logits;
  }

  test::TinyModel model_;
  std::unique_ptr<Backend> backend_ = make_backend("reference", {.threads = 1});
};

TEST_F(EngineTest, GeneratesUntilTheLengthAndCountsWhatItDid) {
  Engine engine = make({.chunk_tokens = 64});
  const Outcome outcome = run(engine, greedy(some_tokens(100), 5));
  EXPECT_EQ(outcome.tokens.size(), 5u);
  EXPECT_EQ(outcome.finish, FinishReason::kLength);
  EXPECT_EQ(outcome.stats.prompt_tokens, 100);
  EXPECT_EQ(outcome.stats.generated_tokens, 5);
  EXPECT_EQ(outcome.stats.phases.prefill.tokens, 100);
  EXPECT_EQ(outcome.stats.phases.prefill.steps, 2);
  EXPECT_EQ(outcome.stats.phases.decode.tokens, 4);  // the fifth is not fed back
  EXPECT_EQ(outcome.stats.phases.prefill.counts.size(), 2u * 4u);
  EXPECT_GT(outcome.stats.phases.decode.total().tiles, 0u);
  EXPECT_EQ(outcome.stats.phases.decode.total().skipped, 0u);
  EXPECT_LE(outcome.stats.started_s, outcome.stats.first_token_s);
  EXPECT_LE(outcome.stats.first_token_s, outcome.stats.finished_s);
  EXPECT_EQ(engine.stats().kv_pages_in_use, 0);
}

TEST_F(EngineTest, StopsAtAStopToken) {
  Engine engine = make();
  const Tokens all = run(engine, greedy(some_tokens(20), 8)).tokens;
  Request request = greedy(some_tokens(20), 8);
  request.stop_ids = {all[2]};
  const Outcome outcome = run(engine, request);
  const auto first = std::ranges::find(all, all[2]);
  EXPECT_EQ(outcome.tokens, Tokens(all.begin(), first + 1));
  EXPECT_EQ(outcome.finish, FinishReason::kStop);
}

TEST_F(EngineTest, EndsWhereTheContextEnds) {
  Engine engine = make({.context = 70});
  const Outcome outcome = run(engine, greedy(some_tokens(60), 100));
  EXPECT_EQ(outcome.tokens.size(), 10u);
  EXPECT_EQ(outcome.finish, FinishReason::kLength);
}

TEST_F(EngineTest, RefusesWhatCannotRun) {
  Engine engine = make({.context = 64});
  EXPECT_ERROR(kInvalid, "prompt is empty", engine.add(greedy({}, 1)));
  EXPECT_ERROR(kInvalid, "the prompt has 64 tokens, which is too long for a context of 64",
               engine.add(greedy(some_tokens(64), 1)));
  EXPECT_NO_THROW(engine.add(greedy(some_tokens(64), 0)));
  EXPECT_ERROR(kInvalid, "token 48", engine.add(greedy({48}, 1)));
  EXPECT_ERROR(kInvalid, "token -1", engine.add(greedy({-1}, 1)));
  EXPECT_ERROR(kInvalid, "max_new_tokens", engine.add(greedy({1}, -1)));
  for (double factor : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    Request request = greedy({1}, 1);
    request.threshold_scale_factor.decode = factor;
    EXPECT_ERROR(kInvalid, "decode threshold scale factor", engine.add(request));
  }
  EXPECT_ERROR(kInvalid, "context is 2000; the model allows 1 to 1024", make({.context = 2000}));
  EXPECT_ERROR(kInvalid, "chunk_tokens", make({.chunk_tokens = 3, .max_sequences = 4}));
}

TEST_F(EngineTest, CancelsWithinAStepAndReleasesThePages) {
  Engine engine = make({.chunk_tokens = 64});
  const RequestId running = engine.add(greedy(some_tokens(200), 5));
  const RequestId waiting = engine.add(greedy(some_tokens(10), 5));
  EXPECT_TRUE(engine.step().empty());  // the first chunk of the prompt
  EXPECT_GT(engine.stats().kv_pages_in_use, 0);
  EXPECT_TRUE(engine.cancel(running));
  EXPECT_TRUE(engine.cancel(waiting));
  EXPECT_FALSE(engine.cancel(waiting));
  EXPECT_FALSE(engine.cancel(99));
  EXPECT_EQ(engine.stats().kv_pages_in_use, 0);
  const auto events = engine.step();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].id, running);
  EXPECT_EQ(events[0].finish, FinishReason::kCancelled);
  EXPECT_TRUE(engine.idle());
}

TEST_F(EngineTest, ReusesPrefixesOnlyBetweenEqualSettings) {
  Engine engine = make();
  EXPECT_EQ(run(engine, greedy(some_tokens(150), 2)).stats.reused_tokens, 0);
  const Outcome again = run(engine, greedy(some_tokens(150), 2));
  EXPECT_EQ(again.stats.reused_tokens, 128);
  EXPECT_EQ(again.stats.phases.prefill.tokens, 22);
  Request sparse = greedy(some_tokens(150), 2);
  sparse.threshold_scale_factor = {10.0, 10.0};
  EXPECT_EQ(run(engine, sparse).stats.reused_tokens, 0);
  EXPECT_EQ(run(engine, sparse).stats.reused_tokens, 128);
  sparse.min_context = 5;
  EXPECT_EQ(run(engine, sparse).stats.reused_tokens, 0);
}

TEST_F(EngineTest, SkipsTilesAndCountsThemPerHead) {
  Engine engine = make();
  Request request = greedy(some_tokens(400), 8);
  request.threshold_scale_factor = {1000.0, 1000.0};
  const SequenceStats stats = run(engine, request).stats;
  EXPECT_GT(stats.phases.prefill.total().skipped, 0u);
  EXPECT_GT(stats.phases.decode.total().skipped, 0u);
  EXPECT_EQ(stats.phases.prefill.tokens_below_min_context, 0);
  EXPECT_EQ(engine.stats().skip.prefill, stats.phases.prefill.total());
}

TEST_F(EngineTest, RunsDenseBelowMinContextAndSaysSo) {
  Engine engine = make({.chunk_tokens = 200});
  Request request = greedy(some_tokens(399), 3);
  request.threshold_scale_factor = {1000.0, 1000.0};
  request.min_context = 400;
  const SequenceStats stats = run(engine, request).stats;
  EXPECT_EQ(stats.phases.prefill.total().skipped, 0u);
  EXPECT_EQ(stats.phases.prefill.tokens_below_min_context, 399);
  EXPECT_GT(stats.phases.decode.total().skipped, 0u);  // 400 keys and more
  EXPECT_EQ(stats.phases.decode.tokens_below_min_context, 0);
}

TEST_F(EngineTest, PromptLogitsAreTheSameInChunksAndThroughDecode) {
  Engine whole = make();
  Engine chunked = make({.chunk_tokens = 70});
  const Request request = greedy(some_tokens(300), 0);
  std::vector<float> next;
  const std::vector<float> logits = prompt_logits(whole, request, &next);
  ASSERT_EQ(logits.size(), 300u * 48u);
  ASSERT_EQ(next.size(), 299u);
  EXPECT_EQ(prompt_logits(chunked, request), logits);
  Request decoded = request;
  decoded.decode_from = 250;
  EXPECT_EQ(prompt_logits(chunked, decoded), logits);

  for (int64_t i : {0, 255, 256, 298}) {
    const std::span<const float> row = std::span(logits).subspan(i * 48, 48);
    EXPECT_FLOAT_EQ(next[i], static_cast<float>(row[request.prompt[i + 1]] - log_sum_exp(row)));
  }
}

TEST_F(EngineTest, PromptLogitsGoTogetherWithGeneration) {
  Engine engine = make();
  const Tokens tokens = run(engine, greedy(some_tokens(300), 4)).tokens;
  Request request = greedy(some_tokens(300), 4);
  std::vector<float> last;
  request.on_prompt_logits = [&](const PromptLogits& block) {
    last.assign(block.logits.end() - 48, block.logits.end());
  };
  const RequestId other = engine.add(greedy(some_tokens(20), 4));
  const RequestId id = engine.add(request);
  Tokens found;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      if (event.id == id) {
        found.push_back(event.token->id);
      } else {
        EXPECT_EQ(event.id, other);
      }
    }
  }
  EXPECT_EQ(found, tokens);
  EXPECT_EQ(std::ranges::max_element(last) - last.begin(), tokens[0]);
}

// The reference; notes which rows of logits are read, and can spoil one of a step's.
class WatchedBackend : public ForwardingBackend {
 public:
  WatchedBackend() : ForwardingBackend(make_backend("reference", {.threads = 1})) {}
  void top_candidates(Matrix logits, Matrix out) override {
    if (spoiled_row < logits.rows) {
      logits.row(spoiled_row)[3] = std::nanf("");
    }
    ForwardingBackend::top_candidates(logits, out);
  }
  std::span<const float> read(Matrix x) override {
    rows_read += x.rows;
    return ForwardingBackend::read(x);
  }

  int64_t spoiled_row = std::numeric_limits<int64_t>::max();
  int64_t rows_read = 0;
};

TEST_F(EngineTest, LogitsThatAreNotFiniteEndTheirRequestOnly) {
  WatchedBackend backend;
  Engine engine(model_.checkpoint(), backend);
  std::vector<RequestId> ids;
  for (int64_t length : {5, 6, 7}) {
    ids.push_back(engine.add(greedy(some_tokens(length), 4)));
  }
  engine.step();
  backend.spoiled_row = 1;
  std::map<RequestId, Tokens> tokens;
  std::map<RequestId, Event> last;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      if (event.token) {
        tokens[event.id].push_back(event.token->id);
      }
      last[event.id] = event;
    }
    backend.spoiled_row = std::numeric_limits<int64_t>::max();
  }
  EXPECT_EQ(last[ids[1]].finish, FinishReason::kError);
  EXPECT_THAT(last[ids[1]].error, testing::HasSubstr("not finite"));
  EXPECT_EQ(last[ids[1]].error_code, ErrorCode::kCorrupt);
  EXPECT_TRUE(tokens[ids[1]].empty());
  Engine untouched = make();
  for (size_t i : {0, 2}) {
    const Outcome alone = run(untouched, greedy(some_tokens(5 + static_cast<int64_t>(i)), 4));
    EXPECT_EQ(last[ids[i]].finish, FinishReason::kLength);
    EXPECT_EQ(tokens[ids[i]], Tokens(alone.tokens.begin() + 1, alone.tokens.end()));
  }
  EXPECT_EQ(engine.stats().kv_pages_in_use, 0);
}

// A model whose vocabulary is larger than the candidates of a row.
TEST(EngineCandidates, OnlyRowsThatCandidatesDoNotDecideAreRead) {
  ModelConfig config = test::tiny_config();
  config.vocab_size = 500;
  test::TinyModel model(config);
  WatchedBackend backend;
  const auto sampling_of = [](bool raised) {
    Request request;
    request.prompt = some_tokens(9);
    request.max_new_tokens = 10;
    request.sampling.top_k = 40;
    request.sampling.seed = 7;
    request.sampling.logprobs = 3;
    request.sampling.repetition_penalty = raised ? 0.9 : 1.0;  // may raise any token
    return request;
  };
  Engine engine(model.checkpoint(), backend);
  for (bool raised : {false, true, false}) {
    engine.add(sampling_of(raised));
  }
  while (!engine.idle()) {
    engine.step();
  }
  EXPECT_EQ(backend.rows_read, 10);
}

TEST_F(EngineTest, SeededSamplingIsReproducible) {
  Engine engine = make();
  Request request = greedy(some_tokens(30), 12);
  request.sampling.temperature = 1.5;
  request.sampling.seed = 5;
  const Tokens first = run(engine, request).tokens;
  EXPECT_EQ(run(engine, request).tokens, first);
  request.sampling.seed = 6;
  EXPECT_NE(run(engine, request).tokens, first);
}

}  // namespace
}  // namespace hopskip
