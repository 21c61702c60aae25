// Random weights in known shapes: what is skipped is what was asked for, in the real engine.
#include "weights/synthetic.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "kernels/backend.h"
#include "models/layers/rope.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

SequenceStats run(Engine& engine, const std::vector<int32_t>& prompt, double factor) {
  Request request;
  request.prompt = prompt;
  request.max_new_tokens = 8;
  request.sampling.temperature = 0.0;
  request.threshold_scale_factor = {factor, factor};
  engine.add(std::move(request));
  SequenceStats stats;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      EXPECT_EQ(event.error, "");
      if (event.finish) {
        stats = *event.stats;
      }
    }
  }
  return stats;
}

void expect_shares(std::string_view shape, int64_t layers, std::string_view backend_name,
                   int64_t context, std::initializer_list<double> shares) {
  const ModelConfig config = synthetic_config(shape, layers, context);
  const Checkpoint checkpoint = synthetic_checkpoint(config);
  const auto backend = make_backend(backend_name, {.threads = 2});
  Engine engine(checkpoint, *backend,
                {.context = context + 8, .chunk_tokens = 512, .prefix_reuse = false});
  for (const double share : shares) {
    SCOPED_TRACE(fmt::format("{} on {}, {}", shape, backend_name, share));
    const auto prompt = synthetic_prompt(config, context, share, 1);
    const SequenceStats sparse = run(engine, prompt, synthetic_skip_factor(context));
    const SequenceStats dense = run(engine, prompt, 0.0);
    for (Phase phase : kPhases) {
      SCOPED_TRACE(phase_name(phase));
      EXPECT_NEAR(sparse.phases[phase].total().sparsity(), share, 0.08);
      EXPECT_EQ(dense.phases[phase].total().skipped, 0u);
      EXPECT_GT(dense.phases[phase].total().tiles, 0u);
      // Each layer and head: nothing dies out on the way.
      for (const SkipCounts& counts : sparse.phases[phase].counts) {
        EXPECT_NEAR(counts.sparsity(), share, 0.15);
      }
    }
  }
}

TEST(Synthetic, TheShareThatIsSkippedIsTheOneAskedFor) {
  expect_shares("tiny", 0, "cpu", 2048, {0.25, 0.75});
  expect_shares("tiny-moe", 0, "cpu", 2048, {0.5});
}

TEST(Synthetic, OnTheReferenceToo) { expect_shares("tiny-moe", 1, "reference", 384, {0.33}); }

// The true layers, head_dim, norms and rotary frequencies, with little else so that it takes no
// minutes: the distance between hot and cold lasts to the last layer.
TEST(Synthetic, TheDepthOfPublishedShapes) {
  for (const std::string_view shape : {"llama-3.1-8b", "qwen3-30b-a3b"}) {
    SCOPED_TRACE(shape);
    ModelConfig config = synthetic_config(shape, 0, 0);
    config.vocab_size = 1024;
    config.intermediate_size = 256;
    config.hidden_size = 256;
    config.num_experts = 0;
    config.num_kv_heads = config.num_heads = 2;
    const Checkpoint checkpoint = synthetic_checkpoint(config);
    const auto backend = make_backend("cpu", {.threads = 2});
    constexpr int64_t kContext = 1024;
    Engine engine(checkpoint, *backend, {.context = kContext + 8, .prefix_reuse = false});
    const auto prompt = synthetic_prompt(config, kContext, 0.5, 3);
    const SequenceStats stats = run(engine, prompt, synthetic_skip_factor(kContext));
    for (Phase phase : kPhases) {
      EXPECT_NEAR(stats.phases[phase].total().sparsity(), 0.5, 0.05);
      for (const SkipCounts& counts : stats.phases[phase].counts) {
        EXPECT_NEAR(counts.sparsity(), 0.5, 0.05);
      }
    }
  }
}

// How far the marked pair turns from the first to the last key leaves the distance as it is.
TEST(Synthetic, TheDistanceReachesToTheEndOfTheContext) {
  for (const std::string_view shape : synthetic_shapes()) {
    SCOPED_TRACE(shape);
    const int64_t context = shape.starts_with("tiny") ? 32768 : 131072;
    const Rope rope = make_rope(synthetic_config(shape, 0, context));
    EXPECT_GT(std::cos(static_cast<double>(context) * double{rope.inv_freq.back()}), 0.9);
  }
}

TEST(Synthetic, ShapesAreThoseThatWerePublished) {
  struct Case {
    std::string_view shape;
    double billions;
  };
  for (const auto& [shape, billions] :
       {Case{"llama-3.1-8b", 8.03}, Case{"qwen3-8b", 8.19}, Case{"qwen3-30b-a3b", 30.53},
        Case{"llama-3.3-70b", 70.55}}) {
    SCOPED_TRACE(shape);
    const ModelConfig config = synthetic_config(shape, 0, 0);
    validate(config, "shape");
    const Checkpoint checkpoint = synthetic_checkpoint(config);
    EXPECT_NEAR(1e-9 * static_cast<double>(checkpoint.tensor_bytes()) / 2.0, billions, 0.01);
  }
  EXPECT_EQ(synthetic_config("qwen3-8b", 3, 131072).num_layers, 3);
  EXPECT_EQ(synthetic_config("qwen3-8b", 3, 131072).max_position, 131072);
  EXPECT_EQ(synthetic_config("qwen3-8b", 3, 100).max_position, 40960);
}

TEST(Synthetic, MistakesAreNamed) {
  constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
  EXPECT_ERROR(kInvalid, "llama-3.1-8b, qwen3-8b", synthetic_config("llama", 0, 0));
  EXPECT_ERROR(kInvalid, "5 layers", synthetic_config("tiny", 5, 0));
  const ModelConfig config = synthetic_config("tiny", 0, 0);
  EXPECT_ERROR(kInvalid, "1.5", synthetic_prompt(config, 100, 1.5, 1));
  ModelConfig narrow = config;
  narrow.vocab_size = 3;
  EXPECT_ERROR(kInvalid, "no room", synthetic_checkpoint(narrow));
}

TEST(Synthetic, PromptsAreTokensAndDiffer) {
  const ModelConfig config = synthetic_config("tiny", 0, 0);
  for (const int64_t length : {1, 128, 129, 300, 5000}) {
    for (const double share : {0.0, 0.5, 1.0}) {
      const auto prompt = synthetic_prompt(config, length, share, 1);
      ASSERT_EQ(std::ssize(prompt), length);
      for (int32_t token : prompt) {
        ASSERT_TRUE(token >= 0 && token < config.vocab_size);
      }
      EXPECT_EQ(prompt.front() % 4, 3);  // hot in both heads
      EXPECT_EQ(prompt.back() % 4, 3);
    }
  }
  EXPECT_NE(synthetic_prompt(config, 100, 0.5, 1), synthetic_prompt(config, 100, 0.5, 2));
  EXPECT_EQ(synthetic_prompt(config, 100, 0.5, 2), synthetic_prompt(config, 100, 0.5, 2));
}

// Parts are measured in the steps that are asked for, and only there.
TEST(Synthetic, TimedStepsAddUp) {
  const ModelConfig config = synthetic_config("tiny-moe", 2, 0);
  const Checkpoint checkpoint = synthetic_checkpoint(config);
  for (const std::string_view name : {"cpu", "reference"}) {
    SCOPED_TRACE(name);
    const auto backend = make_backend(name, {.threads = 2});
    Engine engine(checkpoint, *backend, {.chunk_tokens = 64, .prefix_reuse = false});
    run(engine, synthetic_prompt(config, 150, 0.0, 1), 0.0);
    EXPECT_EQ(engine.stats().timed.prefill.steps, 0);
    engine.time_parts(true);
    run(engine, synthetic_prompt(config, 150, 0.0, 1), 0.0);
    engine.time_parts(false);
    run(engine, synthetic_prompt(config, 150, 0.0, 1), 0.0);
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.timed.prefill.steps, 3);
    EXPECT_EQ(stats.timed.decode.steps, 7);  // the prompt's last step gives the first of 8 tokens
    for (Phase phase : kPhases) {
      for (Part part : kParts) {
        EXPECT_GT(stats.timed[phase].seconds[part], 0.0) << part_name(part);
      }
    }
  }
}

}  // namespace
}  // namespace hopskip
