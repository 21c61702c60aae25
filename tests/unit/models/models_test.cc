#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/check.h"
#include "models/model.h"
#include "support/error_matchers.h"
#include "support/forwarding_backend.h"
#include "support/tiny_model.h"

namespace hopskip {
namespace {

class ModelsTest : public testing::Test {
 protected:
  // Hidden states of `rows` after a prefill of 40 tokens.
  std::vector<float> hidden(const ModelConfig& config, std::span<const int64_t> rows,
                            int64_t tokens_count = 40) {
    test::TinyModel tiny(config);
    const auto model = load_model(tiny.checkpoint(), *backend_);
    KvConfig kv_config;
    kv_config.num_layers = static_cast<int>(config.num_layers);
    kv_config.num_kv_heads = static_cast<int>(config.num_kv_heads);
    kv_config.head_dim = static_cast<int>(config.head_dim);
    kv_config.num_pages = 1;
    const auto kv = backend_->make_kv_storage(kv_config);
    std::vector<int32_t> tokens(tokens_count), positions(tokens_count);
    std::iota(tokens.begin(), tokens.end(), 3);
    std::iota(positions.begin(), positions.end(), 0);
    const int32_t page = 0;
    const AttentionSequence sequence{0, tokens_count, tokens_count, {&page, 1}};
    backend_->reset_workspace();
    const auto step = backend_->begin_step({.tokens = tokens,
                                            .positions = positions,
                                            .sequences = {&sequence, 1},
                                            .rows = rows,
                                            .kv = kv.get(),
                                            .num_heads = static_cast<int>(config.num_heads)});
    const Matrix out = model->forward(*step);
    backend_->end_step(*step);
    counts_.assign(step->counts().begin(), step->counts().end());
    EXPECT_EQ(out.rows, std::ssize(rows));
    EXPECT_EQ(out.cols, config.hidden_size);
    if (out.rows == 0) {
      return {};
    }
    const auto values = backend_->read(out);
    return {values.begin(), values.end()};
  }

  std::unique_ptr<Backend> backend_ = make_backend("reference", {.threads = 1});
  std::vector<SkipCounts> counts_;
};

constexpr std::array<int64_t, 1> kLast{39};

TEST_F(ModelsTest, NamesWhatItKnows) {
  test::TinyModel tiny;
  tiny.checkpoint().config.architecture = "mamba";
  EXPECT_ERROR(ErrorCode::kUnsupported,
               "'mamba' is not known; known are llama, qwen2, qwen3, qwen3_moe",
               load_model(tiny.checkpoint(), *backend_));
}

// Sees what is asked before a model is loaded, and has no room.
class FullBackend : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  void check_fits(std::span<const TensorView> weights) const override {
    for (const TensorView& weight : weights) {
      asked += weight.elements();
    }
    fail(ErrorCode::kOutOfMemory, "{} elements do not fit", asked);
  }
  mutable int64_t asked = 0;
};

TEST_F(ModelsTest, AsksForRoomForWhatItWillLoad) {
  ModelConfig config = test::tiny_config();
  config.tie_word_embeddings = false;
  test::TinyModel tiny(config);
  int64_t all = 0;
  for (const auto& [name, view] : tiny.checkpoint().tensors) {
    all += view.elements();
  }
  FullBackend full(make_backend("reference", {.threads = 1}));
  EXPECT_ERROR(ErrorCode::kOutOfMemory, fmt::format("tiny: {} elements do not fit", all),
               load_model(tiny.checkpoint(), full));
  tiny.checkpoint().config.tie_word_embeddings = true;  // the output matrix stays in the file
  full.asked = 0;
  EXPECT_ERROR(ErrorCode::kOutOfMemory,
               fmt::format("{} elements", all - config.vocab_size * config.hidden_size),
               load_model(tiny.checkpoint(), full));
}

// A host backend on which everything is larger than any machine.
class HugeOnHost final : public ForwardingBackend {
 public:
  explicit HugeOnHost(HostBytes bytes)
      : ForwardingBackend(make_backend("reference", {.threads = 1})), bytes_(bytes) {}
  HostBytes host_bytes(std::span<const TensorView>, const KvConfig&) const override {
    return bytes_;
  }
  WeightPtr load(const TensorView&) override {
    ADD_FAILURE() << "a weight is loaded";
    return nullptr;
  }

 private:
  HostBytes bytes_;
};

TEST_F(ModelsTest, WhatTheHostHasNoRoomForIsRefusedBeforeItIsLoaded) {
  constexpr int64_t kPetabyte = 1'000'000'000'000'000;
  test::TinyModel tiny(test::tiny_config());
  const KvConfig kv{.num_layers = 1, .num_kv_heads = 1, .head_dim = 64, .num_pages = 3};
  HugeOnHost weights({.weights = kPetabyte, .kv_cache = kPetabyte});
  EXPECT_ERROR(ErrorCode::kOutOfMemory,
               "tiny: the weights need 1000000.0 GB, and this machine has ",
               load_model(tiny.checkpoint(), weights, {}, kv));
  HugeOnHost cache({.weights = 1, .kv_cache = kPetabyte});
  EXPECT_ERROR(ErrorCode::kOutOfMemory,
               "tiny: the weights need 0.0 GB and a KV cache of 192 tokens 1000000.0 GB",
               load_model(tiny.checkpoint(), cache, {}, kv));
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "take a shorter context, fewer kv_tokens or",
               load_model(tiny.checkpoint(), cache, {}, kv));
  KvConfig least = kv;  // that nobody asked for
  least.num_pages = 1;
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "to give; take a smaller model",
               load_model(tiny.checkpoint(), cache, {}, least));
}

TEST_F(ModelsTest, KnowsWhatStaysMapped) {
  test::TinyModel tiny(test::tiny_config());
  const int64_t all = tiny.checkpoint().tensor_bytes();
  const auto reference = make_backend("reference", {.threads = 1});
  EXPECT_EQ(mapped_bytes(tiny.checkpoint(), *reference), all);
  const auto cpu = make_backend("cpu", {.threads = 1});  // it copies vectors
  EXPECT_GT(mapped_bytes(tiny.checkpoint(), *cpu), all / 2);
  EXPECT_LT(mapped_bytes(tiny.checkpoint(), *cpu), all);
}

TEST_F(ModelsTest, AKvCacheThatCannotBeIsRefusedBeforeAnythingIsLoaded) {
  class OnCpu final : public ForwardingBackend {
   public:
    OnCpu() : ForwardingBackend(make_backend("cpu", {.threads = 1})) {}
    WeightPtr load(const TensorView&) override {
      ADD_FAILURE() << "a weight is loaded";
      return nullptr;
    }
    std::unique_ptr<KvStorage> make_kv_storage(const KvConfig&) override {
      ADD_FAILURE() << "memory is taken to ask";
      return nullptr;
    }
  };
  OnCpu cpu;
  test::TinyModel tiny(test::tiny_config());
  EXPECT_ERROR(ErrorCode::kUnsupported, "K and V in fp8",
               load_model(tiny.checkpoint(), cpu, {},
                          {.num_layers = 1,
                           .num_kv_heads = 1,
                           .head_dim = 64,
                           .dtype = DType::kF8E4M3,
                           .num_pages = 3}));
}

TEST_F(ModelsTest, TellsHowMuchIsLoaded) {
  for (const ModelConfig& config : {test::tiny_config(), test::tiny_moe_config()}) {
    test::TinyModel tiny(config);
    int64_t last = 0;
    load_model(tiny.checkpoint(), *backend_, [&](int64_t done, int64_t total) {
      EXPECT_GT(done, last);
      EXPECT_EQ(total, tiny.checkpoint().tensor_bytes());
      last = done;
    });
    EXPECT_EQ(last, tiny.checkpoint().tensor_bytes());
  }
}

TEST_F(ModelsTest, NamesAMissingTensor) {
  test::TinyModel tiny;
  tiny.checkpoint().tensors.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_ERROR(ErrorCode::kNotFound, "model.layers.1.mlp.up_proj.weight",
               load_model(tiny.checkpoint(), *backend_));
}

TEST_F(ModelsTest, NamesAMissingExpertAndOneThatDiffers) {
  constexpr const char* kUp = "model.layers.1.mlp.experts.4.up_proj.weight";
  test::TinyModel tiny(test::tiny_moe_config());
  tiny.checkpoint().tensors.at(kUp).dtype = DType::kBF16;
  EXPECT_ERROR(ErrorCode::kCorrupt, fmt::format("'{}' is bf16, and that of expert 0 f32", kUp),
               load_model(tiny.checkpoint(), *backend_));
  tiny.checkpoint().tensors.erase(kUp);
  EXPECT_ERROR(ErrorCode::kNotFound, kUp, load_model(tiny.checkpoint(), *backend_));
}

TEST_F(ModelsTest, ShowsExpectedAndFoundShape) {
  for (const ModelConfig& config : {test::tiny_config(), test::tiny_moe_config()}) {
    test::TinyModel whole(config);
    for (const auto& [name, view] : whole.checkpoint().tensors) {
      test::TinyModel tiny(config);
      TensorView& tensor = tiny.checkpoint().tensors.at(name);
      tensor.shape[0] -= 1;
      EXPECT_ERROR(ErrorCode::kCorrupt, "tensor '" + name + "' has shape [",
                   load_model(tiny.checkpoint(), *backend_));
    }
  }
  test::TinyModel tiny;
  tiny.checkpoint().tensors.at("model.layers.0.mlp.up_proj.weight").shape[0] = 7;
  EXPECT_ERROR(ErrorCode::kCorrupt, "has shape [7, 32], not [48, 32]",
               load_model(tiny.checkpoint(), *backend_));
}

TEST_F(ModelsTest, GivesOnlyTheRowsAskedFor) {
  std::vector<int64_t> all(40);
  std::iota(all.begin(), all.end(), 0);
  const std::vector<float> full = hidden(test::tiny_config(), all);
  const std::vector<int64_t> some{3, 17, 39};
  const std::vector<float> part = hidden(test::tiny_config(), some);
  for (size_t i = 0; i < some.size(); ++i) {
    EXPECT_TRUE(std::equal(part.begin() + 32 * i, part.begin() + 32 * (i + 1),
                           full.begin() + 32 * some[i]));
  }
  EXPECT_TRUE(hidden(test::tiny_config(), {}).empty());
  for (const SkipCounts& head : counts_) {  // attention has run all the same
    EXPECT_GT(head.tiles, 0u);
  }
}

TEST_F(ModelsTest, EveryFlagOfTheConfigurationChangesTheOutput) {
  const std::vector<float> plain = hidden(test::tiny_config(), kLast);
  const auto expect_other = [&](auto change, const char* what) {
    ModelConfig config = test::tiny_config();
    change(config);
    EXPECT_NE(hidden(config, kLast), plain) << what;
  };
  expect_other([](ModelConfig& c) { c.qk_norm = true; }, "qk_norm");
  expect_other([](ModelConfig& c) { c.qkv_bias = true; }, "qkv_bias");
  expect_other([](ModelConfig& c) { c.o_bias = true; }, "o_bias");
  expect_other([](ModelConfig& c) { c.mlp_bias = true; }, "mlp_bias");
  expect_other([](ModelConfig& c) { c.rope_theta = 500.0; }, "rope_theta");
  expect_other([](ModelConfig& c) { c.rope_interleaved = true; }, "rope_interleaved");
}

TEST_F(ModelsTest, EveryFlagOfAMixtureChangesTheOutput) {
  const std::vector<float> plain = hidden(test::tiny_moe_config(), kLast);
  const auto expect_other = [&](auto change, const char* what) {
    ModelConfig config = test::tiny_moe_config();
    change(config);
    EXPECT_NE(hidden(config, kLast), plain) << what;
  };
  expect_other([](ModelConfig& c) { c.num_experts_per_tok = 1; }, "num_experts_per_tok");
  expect_other([](ModelConfig& c) { c.norm_topk_prob = false; }, "norm_topk_prob");
  expect_other([](ModelConfig& c) { c.layer_dense = {true, false}; }, "layer_dense");
  expect_other([](ModelConfig& c) { c.layer_dense = {true, true}; }, "layer_dense");
  ModelConfig config = test::tiny_moe_config();
  config.layer_dense = {false, false};
  EXPECT_EQ(hidden(config, kLast), plain);
}

TEST_F(ModelsTest, AWindowHidesWhatIsOlderInItsLayersOnly) {
  ModelConfig config = test::tiny_config();
  const std::vector<float> plain = hidden(config, kLast);
  config.sliding_window = 40;
  config.layer_slides = {true, true};
  EXPECT_EQ(hidden(config, kLast), plain);  // as wide as the sequence
  config.sliding_window = 16;
  const std::vector<float> both = hidden(config, kLast);
  config.layer_slides = {false, true};
  const std::vector<float> upper = hidden(config, kLast);
  config.layer_slides = {false, false};
  EXPECT_EQ(hidden(config, kLast), plain);
  EXPECT_NE(both, plain);
  EXPECT_NE(upper, plain);
  EXPECT_NE(upper, both);
}

}  // namespace
}  // namespace hopskip
