// CPU attention on every instruction set of this machine against the fp64 reference.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "attention/reference.h"
#include "attention/skip_rule.h"
#include "base/float16.h"
#include "cases/attention_cases.h"
#include "hopskip/error.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/simd/attention_kernels.h"
#include "support/attention_check.h"

namespace hopskip {
namespace {

using test::AttentionCase;
using test::AttentionData;
using test::worst_difference;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float round_to(DType dtype, float value) {
  return dtype == DType::kBF16 ? static_cast<float>(bf16(value)) : static_cast<float>(fp16(value));
}

std::vector<SimdLevel> levels() {
  std::vector<SimdLevel> levels;
  for (int i = 0; i <= static_cast<int>(detect_simd_level()); ++i) {
    levels.push_back(static_cast<SimdLevel>(i));
  }
  return levels;
}

// The inputs of a case.
struct Inputs {
  AttentionShape shape;
  std::vector<float> sinks;
  std::vector<AttentionData> data;          // one for each sequence
  std::vector<std::vector<int32_t>> pages;  // shuffled over the whole cache
  int64_t num_pages = 0;
};

Inputs make_inputs(const AttentionCase& c, DType dtype, uint64_t seed) {
  std::mt19937_64 random(seed);
  Inputs in;
  in.shape.num_heads = c.num_heads;
  in.shape.num_kv_heads = c.num_kv_heads;
  in.shape.head_dim = c.head_dim;
  in.shape.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  in.shape.softcap = c.softcap;
  in.shape.window = c.window;
  in.shape.causal = c.causal;
  if (c.sinks) {
    for (int h = 0; h < c.num_heads; ++h) {
      in.sinks.push_back(static_cast<float>(3 * h - 2));
    }
    in.shape.sinks = in.sinks.data();
  }
  const auto round = [](float x) { return static_cast<float>(bf16(x)); };  // exact in q, k and v
  for (const test::SequenceCase& s : c.sequences) {
    in.data.push_back(test::make_attention_data(s.q_len, s.kv_len, c.num_heads, c.num_kv_heads,
                                                c.head_dim, in.shape.scale, c.stretch, 0.5, 20.0f,
                                                random, round));
    for (std::vector<float>* values : {&in.data.back().k, &in.data.back().v}) {
      for (float& value : *values) {
        value = round_to(dtype, value);
      }
    }
    in.pages.emplace_back((s.kv_len + c.page_size - 1) / c.page_size);
    in.num_pages += std::ssize(in.pages.back());
  }
  in.num_pages += 2;  // pages that belong to nobody
  std::vector<int32_t> order(in.num_pages);
  for (int32_t i = 0; i < in.num_pages; ++i) {
    order[i] = i;
  }
  std::shuffle(order.begin(), order.end(), random);
  size_t next = 0;
  for (std::vector<int32_t>& pages : in.pages) {
    for (int32_t& page : pages) {
      page = order[next++];
    }
  }
  return in;
}

struct Result {
  std::vector<std::vector<float>> out;  // [sequence][q_len · num_heads · head_dim]
  std::vector<std::vector<float>> lse;  // [sequence][q_len · num_heads]
  std::vector<SkipMap> maps;
  std::vector<SkipCounts> counts;  // [sequence][num_heads]
};

struct RunOptions {
  SimdLevel level = SimdLevel::kScalar;
  DType dtype = DType::kBF16;
  int threads = 2;
  std::optional<float> threshold;  // instead of the case's
  PerPhase<std::optional<TilePlan>> plans{};
};

float threshold_of(const AttentionCase& c, const test::SequenceCase& s) {
  return skip_threshold_log2(c.factor, s.kv_len);
}

Matrix matrix(std::vector<float>& values, int64_t cols) {
  return {values.data(), std::ssize(values) / cols, cols, cols};
}

Result run(const AttentionCase& c, const Inputs& in, const RunOptions& options) {
  ThreadPool pool(options.threads);
  CpuAttention attention(pool, options.level, options.plans);
  const int64_t kv_cols = int64_t{c.num_kv_heads} * c.head_dim;
  const int64_t q_cols = int64_t{c.num_heads} * c.head_dim;
  KvConfig config{2, c.num_kv_heads, c.head_dim, options.dtype, c.page_size, in.num_pages};
  const auto kv = attention.make_kv_storage(config);
  constexpr int kLayer = 1;
  const auto begin_step = [&](std::span<const int32_t> tokens,
                              std::span<const AttentionSequence> sequences) {
    return attention.begin_step({.tokens = tokens,
                                 .positions = tokens,
                                 .sequences = sequences,
                                 .kv = kv.get(),
                                 .num_heads = c.num_heads});
  };

  // Earlier tenants of the pages left NaN behind.
  {
    std::vector<int32_t> pages(in.num_pages);
    for (int32_t i = 0; i < in.num_pages; ++i) {
      pages[i] = i;
    }
    const int64_t tokens = in.num_pages * c.page_size;
    std::vector<float> poison(tokens * kv_cols, kNan);
    const AttentionSequence all{0, tokens, tokens, pages};
    const std::vector<int32_t> ids(tokens);
    const auto step = begin_step(ids, {&all, 1});
    attention.kv_append(*step, kLayer, matrix(poison, kv_cols), matrix(poison, kv_cols));
  }
  // The context before this step comes in two chunks, the first of odd length.
  std::vector<AttentionSequence> sequences;
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> v;
  for (size_t i = 0; i < c.sequences.size(); ++i) {
    const test::SequenceCase& s = c.sequences[i];
    const int64_t context = s.kv_len - s.q_len;
    for (int64_t begin = 0, end = context / 3; begin < context; begin = end, end = context) {
      if (begin == end) {
        continue;
      }
      const AttentionSequence chunk{0, end - begin, end, in.pages[i]};
      const std::vector<int32_t> ids(end - begin);
      const auto step = begin_step(ids, {&chunk, 1});
      std::vector<float> ck(&in.data[i].k[begin * kv_cols], &in.data[i].k[0] + end * kv_cols);
      std::vector<float> cv(&in.data[i].v[begin * kv_cols], &in.data[i].v[0] + end * kv_cols);
      attention.kv_append(*step, kLayer, matrix(ck, kv_cols), matrix(cv, kv_cols));
    }
    // A row that belongs to nobody lies between the sequences.
    q.insert(q.end(), q_cols, kNan);
    k.insert(k.end(), kv_cols, kNan);
    v.insert(v.end(), kv_cols, kNan);
    AttentionSequence sequence{std::ssize(q) / q_cols,
                               s.q_len,
                               s.kv_len,
                               in.pages[i],
                               s.phase,
                               options.threshold.value_or(threshold_of(c, s))};
    sequences.push_back(sequence);
    q.insert(q.end(), in.data[i].q.begin(), in.data[i].q.end());
    k.insert(k.end(), in.data[i].k.begin() + context * kv_cols, in.data[i].k.end());
    v.insert(v.end(), in.data[i].v.begin() + context * kv_cols, in.data[i].v.end());
  }
  const std::vector<int32_t> ids(q.size() / q_cols);
  const auto step = begin_step(ids, sequences);
  attention.kv_append(*step, kLayer, matrix(k, kv_cols), matrix(v, kv_cols));

  std::vector<float> out(q.size(), kNan);
  std::vector<float> lse(q.size() / c.head_dim, kNan);
  Result result;
  attention.attention(*step, in.shape, kLayer, matrix(q, q_cols), matrix(out, q_cols),
                      {lse.data(), &result.maps});
  const auto counts = step->counts().last(sequences.size() * c.num_heads);
  result.counts.assign(counts.begin(), counts.end());
  for (const AttentionSequence& s : sequences) {
    result.out.emplace_back(&out[s.q_begin * q_cols], &out[0] + (s.q_begin + s.q_len) * q_cols);
    result.lse.emplace_back(&lse[s.q_begin * c.num_heads],
                            &lse[0] + (s.q_begin + s.q_len) * c.num_heads);
    EXPECT_TRUE(std::isnan(out[(s.q_begin - 1) * q_cols])) << "wrote a row of nobody";
  }
  return result;
}

TilePlan plan_of(const RunOptions& options, Phase phase, const AttentionShape& shape) {
  ThreadPool pool(1);
  return CpuAttention(pool, options.level, options.plans).tile_plan(phase, shape);
}

ReferenceInput reference_input(const Inputs& in, const test::SequenceCase& s, size_t i) {
  return {in.shape,           s.q_len, s.kv_len, in.data[i].q.data(), in.data[i].k.data(),
          in.data[i].v.data()};
}

// Compares a result with the reference; returns how many tiles were skipped.
uint64_t expect_parity(const AttentionCase& c, const Inputs& in, const RunOptions& options,
                       const Result& result) {
  uint64_t skipped = 0;
  for (size_t i = 0; i < c.sequences.size(); ++i) {
    const test::SequenceCase& s = c.sequences[i];
    SCOPED_TRACE(fmt::format("{} sequence {} on {}, {}", c.name, i, simd_level_name(options.level),
                             dtype_name(options.dtype)));
    const TilePlan plan = plan_of(options, s.phase, in.shape);
    const double threshold = options.threshold.value_or(threshold_of(c, s));
    const ReferenceInput input = reference_input(in, s, i);
    ReferenceOutput want = reference_attention(input, plan, threshold);

    const SkipMap& map = result.maps[i];
    EXPECT_EQ(map.states.size(), want.map.states.size());
    const double band = test::rounding_band(input);
    const auto [wrong, excused] = test::check_map(map, want, band);
    EXPECT_EQ(wrong, 0) << "of " << map.states.size() << " tiles, band " << band;
    if (threshold < 0.0) {  // at 0 the tile of the maximum is on the threshold
      EXPECT_LE(excused, 1 + std::ssize(map.states) / 200) << "the rounding band excuses too much";
    }

    if (map.states != want.map.states) {
      want = reference_attention(input, plan, threshold, &map);
    }
    const bool bf16_weights =
        options.level == SimdLevel::kAvx512Bf16 && options.dtype == DType::kBF16;
    const auto round_weight = [&](float weight) {
      return bf16_weights ? static_cast<float>(bf16(weight)) : weight;
    };
    const auto exact = [](float value) { return value; };
    const double naive_error =
        worst_difference(test::naive_attention(input, plan, map, round_weight, exact), want.out);
    const double error = worst_difference(result.out[i], want.out);
    // What float weights may be off by, and the tanh of a soft-cap (2^-22 of it in a score).
    const double floor = 2e-6 + std::ldexp(c.softcap, -22);
    EXPECT_LE(error, 2.0 * naive_error + floor) << "naive error " << naive_error;
    // Sums of bf16 weights are off by 2^-9 at most, each weight by 2^-9 of itself.
    EXPECT_LE(worst_difference(result.lse[i], want.lse), bf16_weights ? 2.1e-3 : 2e-5);

    for (int head = 0; head < c.num_heads; ++head) {
      const SkipCounts counts = test::counts_of_head(map, plan, head);
      EXPECT_EQ(result.counts[i * c.num_heads + head], counts) << "head " << head;
      skipped += counts.skipped;
    }
  }
  return skipped;
}

class AttentionParity : public testing::TestWithParam<AttentionCase> {
 protected:
  // Fresh inputs in every run; the printed seed repeats them.
  const uint64_t seed_ = std::random_device{}();
};

TEST_P(AttentionParity, MatchesReference) {
  const AttentionCase& c = GetParam();
  SCOPED_TRACE(fmt::format("seed {}", seed_));
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    const Inputs in = make_inputs(c, dtype, seed_);
    for (SimdLevel level : levels()) {
      const RunOptions options{level, dtype};
      const uint64_t skipped = expect_parity(c, in, options, run(c, in, options));
      const bool has_cold = std::any_of(c.sequences.begin(), c.sequences.end(),
                                        [](const auto& s) { return s.kv_len >= 256; });
      if (c.factor == 0.0) {
        EXPECT_EQ(skipped, 0u);
      } else if (has_cold && c.window != 1) {
        EXPECT_GT(skipped, 0u) << "nothing was skipped, so nothing was tested";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionParity, testing::ValuesIn(test::attention_cases()),
                         [](const auto& info) { return info.param.name; });

const AttentionCase& case_named(const std::string& name) {
  static const std::vector<AttentionCase> cases = test::attention_cases();
  return *std::find_if(cases.begin(), cases.end(), [&](const auto& c) { return c.name == name; });
}

TEST(Attention, FollowsTilePlans) {
  const AttentionCase& c = case_named("long_stretches");
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const Inputs in = make_inputs(c, DType::kBF16, seed);
  const std::vector<std::string> prefill = {
      "16x16/16 first-to-last", "16x32/64 last-to-first", "16x64/128 sink-diagonal-inward",
      "16x128/128 first-to-last", "16x16/1024 sink-diagonal-inward"};
  const std::vector<std::string> decode = {
      "1x16/256 first-to-last exact", "1*3x16/256 first-to-last exact",
      "16x32/256 first-to-last exact", "2*3x128/256 last-to-first exact split 512",
      "1x64/64 sink-diagonal-inward exact"};
  for (size_t i = 0; i < prefill.size(); ++i) {
    for (SimdLevel level : levels()) {
      RunOptions options{level};
      options.plans.prefill = parse_tile_plan(prefill[i]);
      options.plans.decode = parse_tile_plan(decode[i]);
      SCOPED_TRACE(prefill[i] + ", " + decode[i]);
      EXPECT_GT(expect_parity(c, in, options, run(c, in, options)), 0u);
    }
  }
}

TEST(Attention, RefusesPlansThatItCannotFollow) {
  ThreadPool pool(1);
  for (const char* text :
       {"64x16/256 first-to-last", "16x24/240 first-to-last", "16x16/2048 first-to-last",
        "16x16/256 first-to-last exact", "16x16/256 first-to-last ends",
        "16x16/256 first-to-last split 512", "16x256/256 first-to-last"}) {
    PerPhase<std::optional<TilePlan>> plans;
    plans.prefill = parse_tile_plan(text);
    EXPECT_THROW(CpuAttention(pool, SimdLevel::kScalar, plans), Error) << text;
  }
  for (const char* text : {"1x16/256 first-to-last", "1x16/256 first-to-last ends"}) {
    PerPhase<std::optional<TilePlan>> plans;
    plans.decode = parse_tile_plan(text);
    EXPECT_THROW(CpuAttention(pool, SimdLevel::kScalar, plans), Error) << text;
  }
}

TEST(Attention, RefusesCachesThatItCannotRead) {
  ThreadPool pool(1);
  CpuAttention attention(pool, SimdLevel::kScalar);
  EXPECT_THROW(attention.make_kv_storage({1, 1, 40, DType::kBF16, 64, 1}), Error);
  EXPECT_THROW(attention.make_kv_storage({1, 1, 512, DType::kBF16, 64, 1}), Error);
  EXPECT_THROW(attention.make_kv_storage({1, 1, 64, DType::kBF16, 24, 1}), Error);
  EXPECT_THROW(attention.make_kv_storage({1, 1, 64, DType::kF32, 64, 1}), Error);
}

TEST(Attention, ResultsDoNotDependOnThreads) {
  for (const char* name : {"ragged_batch", "prefill_ragged_tail", "decode_d64"}) {
    const AttentionCase& c = case_named(name);
    const Inputs in = make_inputs(c, DType::kBF16, 7);
    for (SimdLevel level : levels()) {
      const Result one = run(c, in, {level, DType::kBF16, 1});
      for (int threads : {2, 3}) {
        const Result many = run(c, in, {level, DType::kBF16, threads});
        EXPECT_EQ(one.out, many.out) << name;
        EXPECT_EQ(one.lse, many.lse) << name;
        EXPECT_EQ(one.counts, many.counts) << name;
      }
    }
  }
}

TEST(Attention, DenseIsBitIdenticalToSkippingNothing) {
  const AttentionCase& c = case_named("ragged_batch");
  const Inputs in = make_inputs(c, DType::kBF16, 11);
  for (SimdLevel level : levels()) {
    const Result dense = run(c, in, {level, DType::kBF16, 2, kDenseThresholdLog2});
    const Result low = run(c, in, {level, DType::kBF16, 2, -1e30f});
    EXPECT_EQ(dense.out, low.out);
    EXPECT_EQ(dense.lse, low.lse);
    EXPECT_EQ(dense.counts, low.counts);
  }
}

TEST(Attention, VotesAreTheRule) {
  std::mt19937_64 random(3);
  std::uniform_int_distribution<int> pick(0, 7);
  const std::vector<float> values = {-kInfinity, -3.0f, -2.0f, -1.0f, 0.0f, 1.0f, 2.5f, kNan};
  for (SimdLevel level : levels()) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      const AttentionKernels& kernels = attention_kernels(level, dtype);
      for (float threshold : {kDenseThresholdLog2, -1e30f, -2.0f, -1.0f, 0.0f}) {
        for (int round = 0; round < 50; ++round) {
          float tile_max[kLanes];
          float running_max[kLanes];
          uint32_t want = 0;
          for (int i = 0; i < kLanes; ++i) {
            tile_max[i] = values[pick(random)];
            running_max[i] = values[pick(random)];
            want |= uint32_t{row_agrees_to_skip(tile_max[i], running_max[i], threshold)} << i;
          }
          EXPECT_EQ(kernels.rows_agree(tile_max, running_max, threshold), want)
              << simd_level_name(level) << " at " << threshold;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hopskip
