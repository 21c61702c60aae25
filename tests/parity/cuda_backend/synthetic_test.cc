// Models of random weights on a GPU: the host's bits, the share that was asked for, the memory they
// take, and the time of their parts.
#include "weights/synthetic.h"

#include <chrono>

#include "engine/engine.h"
#include "kernels/cuda/backend/weights.h"
#include "parity/cuda_backend/backend_support.h"

namespace hopskip::test {
namespace {

class CudaSyntheticTest : public CudaBackendTest {
 protected:
  struct Outcome {
    std::vector<int32_t> tokens;
    SequenceStats stats;
    std::vector<double> step_seconds;
  };

  static Outcome run(Engine& engine, const std::vector<int32_t>& prompt, double factor,
                     int64_t new_tokens) {
    Request request;
    request.prompt = prompt;
    request.max_new_tokens = new_tokens;
    request.sampling.temperature = 0.0;
    request.threshold_scale_factor = {factor, factor};
    engine.add(std::move(request));
    Outcome outcome;
    while (!engine.idle()) {
      const auto start = std::chrono::steady_clock::now();
      for (const Event& event : engine.step()) {
        EXPECT_EQ(event.error, "");
        if (event.token) {
          outcome.tokens.push_back(event.token->id);
        }
        if (event.finish) {
          outcome.stats = *event.stats;
        }
      }
      outcome.step_seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return outcome;
  }

  void expect_shares(std::string_view shape, int64_t layers, int64_t context, double allowed) {
    const ModelConfig config = synthetic_config(shape, layers, context + 16);
    const Checkpoint checkpoint = synthetic_checkpoint(config, seed_);
    Engine engine(checkpoint, *backend_,
                  {.context = context + 16, .kv_tokens = context + 128, .prefix_reuse = false});
    for (const double share : {0.5, 0.75}) {
      SCOPED_TRACE(fmt::format("{}, {} tokens, {}", shape, context, share));
      const auto prompt = synthetic_prompt(config, context, share, seed_);
      const double factor = synthetic_skip_factor(context);
      const SequenceStats sparse = run(engine, prompt, factor, 8).stats;
      const SequenceStats dense = run(engine, prompt, 0.0, 8).stats;
      for (Phase phase : kPhases) {
        SCOPED_TRACE(phase_name(phase));
        EXPECT_NEAR(sparse.phases[phase].total().sparsity(), share, allowed);
        EXPECT_EQ(dense.phases[phase].total().skipped, 0u);
        for (size_t i = 0; i < sparse.phases[phase].counts.size(); ++i) {
          EXPECT_NEAR(sparse.phases[phase].counts[i].sparsity(), share, 2.0 * allowed)
              << "layer and head " << i;
        }
      }
      fmt::print(
          "  {}, {} layers, {} tokens: wanted {:.2f}, skipped {:.4f} in prefill, {:.4f} in "
          "decode\n",
          shape, config.num_layers, context, share, sparse.phases.prefill.total().sparsity(),
          sparse.phases.decode.total().sparsity());
    }
  }
};

TEST_F(CudaSyntheticTest, WeightsHaveTheHostsBits) {
  const ModelConfig config = synthetic_config("tiny-moe", 1, 0);
  const Checkpoint checkpoint = synthetic_checkpoint(config, seed_);
  for (const auto& [name, view] : checkpoint.tensors) {
    const std::vector<bf16> want = random_values(view);
    const WeightPtr weight = backend_->load(view);
    const auto& own = cuda::cuda_weight(*weight);
    Matrix stored{const_cast<void*>(own.bf16()), weight->rows(), weight->cols(), weight->cols(),
                  DType::kBF16};
    const std::vector<float> got = download(stored);
    ASSERT_EQ(got.size(), want.size()) << name;
    int64_t wrong = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      wrong += got[i] != static_cast<float>(want[i]);
    }
    if (view.rank == 1) {
      stored.data = const_cast<float*>(own.vector());
      stored.dtype = DType::kF32;
      const std::vector<float> floats = download(stored);
      for (size_t i = 0; i < want.size(); ++i) {
        wrong += floats[i] != static_cast<float>(want[i]);
      }
    }
    EXPECT_EQ(wrong, 0) << name;
  }
  std::vector<TensorView> experts;
  std::vector<bf16> want;
  for (int e = 0; e < 8; ++e) {
    experts.push_back(
        checkpoint.get(fmt::format("model.layers.0.mlp.experts.{}.down_proj.weight", e)));
    const std::vector<bf16> values = random_values(experts.back());
    want.insert(want.end(), values.begin(), values.end());
  }
  const WeightPtr weight = backend_->load_experts(experts);
  const std::vector<float> got =
      download({const_cast<void*>(cuda::cuda_weight(*weight).bf16()), weight->rows(),
                weight->cols(), weight->cols(), DType::kBF16});
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i], static_cast<float>(want[i])) << i;
  }
}

TEST_F(CudaSyntheticTest, MemoryIsCountedWhileItIsInUse) {
  ASSERT_TRUE(backend_->memory_use());
  EXPECT_EQ(backend_->memory_use()->weights, 0);
  EXPECT_EQ(backend_->memory_use()->kv_cache, 0);
  const ModelConfig config = synthetic_config("tiny-moe", 0, 0);
  const Checkpoint checkpoint = synthetic_checkpoint(config, seed_);
  {
    const Engine engine(checkpoint, *backend_, {.kv_tokens = 6400});
    const MemoryUse use = *backend_->memory_use();
    EXPECT_GE(use.weights, checkpoint.tensor_bytes());
    EXPECT_LT(use.weights, checkpoint.tensor_bytes() + (1 << 20));  // vectors are there twice
    EXPECT_EQ(use.kv_cache,
              int64_t{6400} * config.num_layers * config.num_kv_heads * config.head_dim * 2 * 2);
    EXPECT_GT(use.rest, 0);
  }
  EXPECT_EQ(backend_->memory_use()->weights, 0);
  EXPECT_EQ(backend_->memory_use()->kv_cache, 0);
}

TEST_F(CudaSyntheticTest, TheShareThatIsSkippedIsTheOneAskedFor) {
  expect_shares("tiny", 0, 4096, 0.08);
  expect_shares("tiny-moe", 0, 4096, 0.08);
  expect_shares("qwen3-8b", 2, 32768, 0.04);
  expect_shares("qwen3-30b-a3b", 2, 32768, 0.04);
  expect_shares("llama-3.1-8b", 2, 131072, 0.03);
}

// Deep layers keep the distance.
TEST_F(CudaSyntheticTest, AllLayersOfAPublishedShape) {
  expect_shares("llama-3.1-8b", 0, 8192, 0.05);
}

// Timed steps give the same tokens; their parts are there, and add up to no more than the step.
TEST_F(CudaSyntheticTest, TimedStepsAreTheSameSteps) {
  for (const std::string_view shape : {"tiny", "tiny-moe"}) {
    SCOPED_TRACE(shape);
    constexpr int64_t kNew = 12;  // decode steps launch, are captured, and are replayed
    const ModelConfig config = synthetic_config(shape, 0, 0);
    const Checkpoint checkpoint = synthetic_checkpoint(config, seed_);
    Engine engine(checkpoint, *backend_, {.kv_tokens = 8192, .prefix_reuse = false});
    const auto prompt = synthetic_prompt(config, 3000, 0.5, seed_);
    const double factor = synthetic_skip_factor(3000);
    const Outcome plain = run(engine, prompt, factor, kNew);
    EXPECT_EQ(engine.stats().timed.prefill.steps, 0);
    EXPECT_EQ(engine.stats().timed.decode.seconds.total(), 0.0);
    for (int round = 0; round < 3; ++round) {  // graphs of both kinds side by side
      const EngineStats before = engine.stats();
      engine.time_parts(true);
      const Outcome timed = run(engine, prompt, factor, kNew);
      engine.time_parts(false);
      const EngineStats after = engine.stats();
      EXPECT_EQ(timed.tokens, plain.tokens) << "round " << round;
      EXPECT_EQ(run(engine, prompt, factor, kNew).tokens, plain.tokens) << "round " << round;
      EXPECT_EQ(after.timed.prefill.steps - before.timed.prefill.steps, 2);
      EXPECT_EQ(after.timed.decode.steps - before.timed.decode.steps, kNew - 1);
      double whole = 0.0;
      for (double seconds : timed.step_seconds) {
        whole += seconds;
      }
      double parts = 0.0;
      for (Phase phase : kPhases) {
        for (Part part : kParts) {
          const double seconds =
              after.timed[phase].seconds[part] - before.timed[phase].seconds[part];
          parts += seconds;
          if (part != Part::kExperts || config.num_experts > 0) {
            EXPECT_GT(seconds, 0.0) << phase_name(phase) << ", " << part_name(part);
          } else {
            EXPECT_EQ(seconds, 0.0);
          }
        }
      }
      EXPECT_LT(parts, 1.05 * whole) << "round " << round;
      fmt::print("  {} round {}: parts {:.2f} of {:.2f} ms\n", shape, round, 1e3 * parts,
                 1e3 * whole);
    }
  }
}

}  // namespace
}  // namespace hopskip::test
