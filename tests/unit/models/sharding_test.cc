// Ranks of a world together compute what one alone computes. The ranks are threads; the worlds are
// as large as the tiny models have KV heads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <set>

#include "base/check.h"
#include "models/model.h"
#include "models/sharding.h"
#include "support/error_matchers.h"
#include "support/thread_world.h"
#include "support/tiny_model.h"
#include "tensor/quantize.h"
#include "weights/synthetic.h"

namespace hopskip {
namespace {

// Heads for up to four ranks, and whole blocks of Q8_0 in what two of them share.
ModelConfig config_of(std::string_view architecture) {
  ModelConfig config = architecture == "qwen3_moe" ? test::tiny_moe_config() : test::tiny_config();
  config.architecture = architecture;
  config.hidden_size = 64;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 16;
  config.intermediate_size = 192;
  if (architecture == "llama") {
    config.o_bias = config.mlp_bias = config.rope_interleaved = true;
  } else if (architecture == "qwen2") {
    config.qkv_bias = true;
    config.sliding_window = 7;
    config.layer_slides = {false, true};
  } else {
    config.qk_norm = true;
    config.tie_word_embeddings = false;
  }
  if (architecture == "qwen3_moe") {
    config.num_layers = 3;
    config.num_experts_per_tok = 3;  // no expert is without a token
    config.layer_dense = {false, true, false};
    config.moe_intermediate_size = 64;
  }
  return config;
}

// Logits [6][vocab]: of rows of a prefill of two sequences, and of two steps that decode both.
std::vector<float> logits_of(const Checkpoint& checkpoint, Backend& backend) {
  const auto model = load_model(checkpoint, backend);
  const ModelConfig& config = model->config();
  const auto kv = backend.make_kv_storage({.num_layers = static_cast<int>(config.num_layers),
                                           .num_kv_heads = static_cast<int>(config.num_kv_heads),
                                           .head_dim = static_cast<int>(config.head_dim),
                                           .num_pages = 2});
  constexpr std::array<int32_t, 2> kPages{1, 0};
  std::array<int64_t, 2> lengths{};
  std::vector<float> logits;
  for (const auto& [first, second] : {std::pair{23, 9}, {1, 1}, {1, 1}}) {
    std::vector<int32_t> tokens, positions;
    std::vector<AttentionSequence> sequences;
    std::vector<int64_t> rows;
    for (const int64_t count : {first, second}) {
      const size_t i = sequences.size();
      const auto begin = std::ssize(tokens);
      for (int64_t t = 0; t < count; ++t) {
        positions.push_back(static_cast<int32_t>(lengths[i] + t));
        tokens.push_back(
            static_cast<int32_t>((positions.back() * 7 + i * 11 + 3) % config.vocab_size));
      }
      lengths[i] += count;
      sequences.push_back({begin, count, lengths[i], {&kPages[i], 1}});
      sequences.back().phase = count > 1 ? Phase::kPrefill : Phase::kDecode;
      rows.push_back(std::ssize(tokens) - 1);
    }
    backend.reset_workspace();
    const auto step = backend.begin_step({.tokens = tokens,
                                          .positions = positions,
                                          .sequences = sequences,
                                          .rows = rows,
                                          .kv = kv.get(),
                                          .num_heads = static_cast<int>(config.num_heads)});
    const Matrix hidden = model->forward(*step);
    const Matrix out = backend.allocate(hidden.rows, config.vocab_size, MatrixKind::kExact);
    model->logits(hidden, out);
    backend.end_step(*step);
    const auto values = backend.read(out);
    logits.insert(logits.end(), values.begin(), values.end());
  }
  return logits;
}

std::unique_ptr<Backend> make(std::string_view name) { return make_backend(name, {.threads = 1}); }

// The logits of every rank; rank r loads from checkpoints[r], or all from the only one.
std::vector<std::vector<float>> sharded_logits(std::span<const Checkpoint* const> checkpoints,
                                               int size, std::string_view backend) {
  test::ThreadWorld world(size);
  std::vector<std::vector<float>> logits(size);
  world.run([&](int rank) {
    test::RankBackend own(make(backend), world, rank);
    logits[rank] = logits_of(*checkpoints[checkpoints.size() > 1 ? rank : 0], own);
  });
  return logits;
}

// Largest difference in units of the logits' deviation.
double difference(std::span<const float> a, std::span<const float> b) {
  double most = 0.0, squares = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(double{a[i]} - b[i]));
    squares += double{b[i]} * b[i];
  }
  return most / std::sqrt(squares / static_cast<double>(b.size()));
}

// What the order of sums in fp32 makes of these models is some 1e-6. The CPU backend works with
// more values in BF16, where a sum that differs in its last bit may fall to the other side: some
// 1e-3. A slice that is off by one makes 0.2 at least.
double rounding(std::string_view backend) { return backend == "cpu" ? 1e-2 : 1e-4; }
constexpr double kWrong = 0.1;

void expect_same_logits(const Checkpoint& checkpoint, int size, std::string_view backend) {
  SCOPED_TRACE(fmt::format("{}, {} ranks, {}", checkpoint.config.architecture, size, backend));
  const auto single = make(backend);
  const std::vector<float> expected = logits_of(checkpoint, *single);
  const Checkpoint* all[] = {&checkpoint};
  const auto found = sharded_logits(all, size, backend);
  for (const std::vector<float>& of_rank : found) {
    ASSERT_EQ(of_rank.size(), expected.size());
    EXPECT_LE(difference(of_rank, expected), size == 1 ? 0.0 : rounding(backend));
    EXPECT_EQ(of_rank, found.front());
  }
}

constexpr std::array<const char*, 4> kArchitectures{"llama", "qwen2", "qwen3", "qwen3_moe"};

class Sharding : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Models, Sharding, testing::ValuesIn(kArchitectures),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Sharding, RanksTogetherComputeTheLogitsOfOne) {
  test::TinyModel tiny(config_of(GetParam()));
  for (const int size : {1, 2, 4}) {
    for (const char* backend : {"reference", "cpu"}) {
      expect_same_logits(tiny.checkpoint(), size, backend);
    }
  }
}

// Takes note of all values that are loaded.
class RecordingBackend : public test::RankBackend {
 public:
  using RankBackend::RankBackend;
  WeightPtr load(const TensorView& view) override {
    record(view);
    return RankBackend::load(view);
  }
  WeightPtr load_experts(std::span<const TensorView> experts) override {
    for (const TensorView& view : experts) {
      record(view);
    }
    return RankBackend::load_experts(experts);
  }
  void check_fits(std::span<const TensorView> weights) const override {
    for (const TensorView& view : weights) {
      asked += view.elements();
    }
  }
  std::multiset<float> values;
  mutable int64_t asked = 0;

 private:
  void record(const TensorView& view) {
    values.insert(view.as<float>(), view.as<float>() + view.elements());
  }
};

// What a tensor of the checkpoint is, by its name.
bool is_split_out(std::string_view name) {
  return std::ranges::any_of(std::array{"q_proj.", "k_proj.", "v_proj.", "gate_proj.", "up_proj."},
                             [&](std::string_view part) { return name.find(part) != name.npos; });
}
bool is_split_in(std::string_view name) {
  return name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
}
bool is_bias_of_sum(std::string_view name) {
  return name.ends_with("o_proj.bias") || name.ends_with("down_proj.bias");
}

TEST_P(Sharding, WhatIsSplitIsLoadedOnce) {
  test::TinyModel tiny(config_of(GetParam()));
  for (const int size : {2, 4}) {
    std::multiset<float> expected;
    for (const auto& [name, view] : tiny.checkpoint().tensors) {
      const bool once = is_split_out(name) || is_split_in(name) || is_bias_of_sum(name);
      for (int i = 0; i < (once ? 1 : size); ++i) {
        expected.insert(view.as<float>(), view.as<float>() + view.elements());
      }
    }
    test::ThreadWorld world(size);
    std::mutex mutex;
    std::multiset<float> found;
    world.run([&](int rank) {
      RecordingBackend backend(make("reference"), world, rank);
      int64_t bytes = 0, total = 0;
      load_model(tiny.checkpoint(), backend, [&](int64_t done, int64_t of) {
        bytes = done;
        total = of;
      });
      const std::lock_guard lock(mutex);
      EXPECT_EQ(backend.asked, std::ssize(backend.values));
      EXPECT_EQ(bytes, backend.asked * int64_t{sizeof(float)});
      EXPECT_EQ(bytes, total);
      found.merge(backend.values);
    });
    EXPECT_EQ(found, expected);
  }
}

// The tensor begins with its second row, or column, and ends with its first.
std::vector<float> rolled(const TensorView& view, bool rows) {
  std::vector<float> values(view.as<float>(), view.as<float>() + view.elements());
  const int64_t width = view.rank == 2 ? view.shape[1] : 1;
  if (rows) {
    std::ranges::rotate(values, values.begin() + width);
    return values;
  }
  for (auto row = values.begin(); row != values.end(); row += width) {
    std::rotate(row, row + 1, row + width);
  }
  return values;
}

TEST_P(Sharding, ASliceThatIsOffByOneShows) {
  test::TinyModel tiny(config_of(GetParam()));
  test::TinyModel other(config_of(GetParam()));
  Checkpoint& shifted = other.checkpoint();
  const auto single = make("reference");
  const std::vector<float> expected = logits_of(tiny.checkpoint(), *single);
  for (const auto& [name, view] : tiny.checkpoint().tensors) {
    if (!is_split_out(name) && !is_split_in(name)) {
      continue;
    }
    SCOPED_TRACE(name);
    const std::vector<float> values = rolled(view, is_split_out(name));
    TensorView& tensor = shifted.tensors.at(name);
    const TensorView whole = tensor;
    tensor.data = values.data();
    const Checkpoint* ranks[] = {&tiny.checkpoint(), &shifted};
    EXPECT_GT(difference(sharded_logits(ranks, 2, "reference").front(), expected), kWrong);
    tensor = whole;
  }
}

// The matrices of a tiny model in another type.
class ConvertedModel {
 public:
  ConvertedModel(const ModelConfig& config, DType dtype) : tiny_(config) {
    for (auto& [name, view] : checkpoint().tensors) {
      if (view.rank == 2) {
        Buffer& stored = buffers_.emplace_back(row_bytes(dtype, view.elements()));
        quantize(dtype, view.as<float>(), stored.data(), view.elements());
        view.dtype = dtype;
        view.data = stored.data();
      }
    }
  }
  Checkpoint& checkpoint() { return tiny_.checkpoint(); }

 private:
  test::TinyModel tiny_;
  std::vector<Buffer> buffers_;
};

TEST_P(Sharding, OfOtherTypes) {
  for (const DType dtype : {DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    ConvertedModel converted(config_of(GetParam()), dtype);
    SCOPED_TRACE(dtype_name(dtype));
    expect_same_logits(converted.checkpoint(), 2, "reference");
  }
}

// Whoever says that it is one of several has to say how they add up.
TEST(ShardingErrors, AWorldNeedsASum) {
  class Lonely : public ForwardingBackend {
   public:
    using ForwardingBackend::ForwardingBackend;
    World world() const override { return {1, 2}; }
    void all_reduce(Matrix x) override { Backend::all_reduce(x); }
  };
  Lonely backend(make("reference"));
  test::TinyModel tiny(config_of("llama"));
  EXPECT_ERROR(ErrorCode::kInternal, "no sum over a world of 2 ranks",
               logits_of(tiny.checkpoint(), backend));
}

TEST(ShardingErrors, BlocksAreNotCut) {
  ConvertedModel converted(config_of("llama"), DType::kQ8_0);
  test::ThreadWorld world(4);  // 48 inner units for a rank
  EXPECT_ERROR(ErrorCode::kUnsupported,
               "tiny: tensor 'model.layers.0.mlp.down_proj.weight' is q8_0, in blocks of 32 "
               "values; 192 values do not spread over 4 ranks without cutting one",
               world.run([&](int rank) {
                 test::RankBackend backend(make("reference"), world, rank);
                 load_model(converted.checkpoint(), backend);
               }));
}

TEST(ShardingOfRandomTensors, RanksTogetherComputeTheLogitsOfOne) {
  for (const char* architecture : {"qwen3", "qwen3_moe"}) {
    expect_same_logits(synthetic_checkpoint(config_of(architecture)), 2, "reference");
  }
}

TEST(ShardOf, DividesHeadsAndInnerUnits) {
  const ModelConfig whole = config_of("qwen3_moe");
  const ModelConfig shard = shard_of(whole, {1, 4});
  EXPECT_EQ(shard.num_heads, 2);
  EXPECT_EQ(shard.num_kv_heads, 1);
  EXPECT_EQ(shard.intermediate_size, 48);
  EXPECT_EQ(shard.moe_intermediate_size, 16);
  EXPECT_EQ(shard.num_experts, whole.num_experts);
  EXPECT_EQ(shard.hidden_size, whole.hidden_size);
  EXPECT_EQ(shard_of(whole, {}).num_heads, whole.num_heads);
}

TEST(ShardOf, NamesWhatDoesNotSpreadEvenly) {
  const ModelConfig whole = config_of("qwen3_moe");
  EXPECT_ERROR(ErrorCode::kUnsupported, "4 key/value heads do not spread evenly over 3 ranks",
               shard_of(whole, {0, 3}));
  EXPECT_ERROR(ErrorCode::kUnsupported, "4 key/value heads do not spread evenly over 8 ranks",
               shard_of(whole, {0, 8}));
  ModelConfig odd = whole;
  odd.intermediate_size = 193;
  EXPECT_ERROR(ErrorCode::kUnsupported, "193 inner units of the feed-forward block",
               shard_of(odd, {0, 2}));
  odd.layer_dense = {};  // then no layer has such a block
  EXPECT_EQ(shard_of(odd, {0, 2}).intermediate_size, 193);
  odd.moe_intermediate_size = 65;
  EXPECT_ERROR(ErrorCode::kUnsupported, "65 inner units of an expert", shard_of(odd, {0, 2}));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "rank 2 of a world of 2", shard_of(whole, {2, 2}));
}

}  // namespace
}  // namespace hopskip
