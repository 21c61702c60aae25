#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "attention/params.h"
#include "attention/profile.h"
#include "attention/reference.h"
#include "attention/skip_rule.h"
#include "attention/tile_plan.h"
#include "hopskip/error.h"

namespace hopskip {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(SkipRule, RowsThatSeeNothingAgreeAndRowsThatSawNothingDoNot) {
  EXPECT_TRUE(row_agrees_to_skip(-kInf, 3.0f, -5.0f));
  EXPECT_TRUE(row_agrees_to_skip(-kInf, -kInf, -5.0f));
  EXPECT_FALSE(row_agrees_to_skip(-100.0f, -kInf, -5.0f));
  EXPECT_TRUE(row_agrees_to_skip(-2.1f, 3.0f, -5.0f));
  EXPECT_FALSE(row_agrees_to_skip(-2.0f, 3.0f, -5.0f));
  EXPECT_FALSE(row_agrees_to_skip(std::nanf(""), 3.0f, -5.0f));
  EXPECT_FALSE(row_agrees_to_skip(-1e30f, 3.0f, kDenseThresholdLog2));
}

TEST(SkipRule, ThresholdIsLog2OfFactorOverKeysClampedAtOne) {
  EXPECT_FLOAT_EQ(skip_threshold_log2(1.0, 1024), -10.0f);
  EXPECT_FLOAT_EQ(skip_threshold_log2(1024.0, 1024), 0.0f);
  EXPECT_FLOAT_EQ(skip_threshold_log2(1e9, 16), 0.0f);
  EXPECT_EQ(skip_threshold_log2(0.0, 16), -kInf);
}

TEST(TilePlan, TextRoundTrips) {
  for (const TilePlan& plan :
       {TilePlan{}, TilePlan{1, 3, 16, 64, VisitOrder::kFirstToLast, MaxSeed::kExact, 1024},
        TilePlan{64, 1, 128, 128, VisitOrder::kLastToFirst, MaxSeed::kNone, 0},
        TilePlan{1, 1, 16, 64, VisitOrder::kFirstToLast, MaxSeed::kEnds, 512}}) {
    EXPECT_EQ(parse_tile_plan(to_string(plan)), plan) << to_string(plan);
  }
  for (const char* text :
       {"", "16x16", "16x16/256 sideways", "x16/256 first-to-last",
        "16x16/256 first-to-last exactly", "16x16/256 first-to-last exact ends"}) {
    EXPECT_THAT([&] { parse_tile_plan(text); },
                ThrowsMessage<Error>(HasSubstr("is not a tile plan")));
  }
}

TEST(TilePlan, SeedsAreTheFirstAndLastKeysCountedFromTileEdges) {
  const auto seeds = [](int64_t begin, int64_t end, int keys) {
    std::vector<std::pair<int64_t, int64_t>> runs;  // of seed keys, [first, last]
    for (int64_t key = begin; key < end; ++key) {
      if (is_seed_key(key, begin, end, keys)) {
        if (runs.empty() || runs.back().second != key - 1) {
          runs.emplace_back(key, key);
        }
        runs.back().second = key;
      }
    }
    return runs;
  };
  using Runs = std::vector<std::pair<int64_t, int64_t>>;
  EXPECT_EQ(seeds(0, 512, 16), (Runs{{0, 63}, {448, 511}}));
  EXPECT_EQ(seeds(37, 501, 16), (Runs{{37, 95}, {448, 500}}));
  EXPECT_EQ(seeds(0, 100, 16), (Runs{{0, 99}}));
  EXPECT_EQ(seeds(0, 1, 128), (Runs{{0, 0}}));
  EXPECT_EQ(seeds(0, 300, 128), (Runs{{0, 63}}));  // the last tile's own 64 keys are beyond the end
}

TEST(TilePlan, OrdersVisitEverySpanOnce) {
  for (VisitOrder order :
       {VisitOrder::kFirstToLast, VisitOrder::kLastToFirst, VisitOrder::kSinkDiagonalInward}) {
    for (int64_t last = 3; last < 9; ++last) {
      std::vector<int64_t> spans;
      for (int64_t visit = 0; visit <= last - 3; ++visit) {
        spans.push_back(visited_span(order, visit, 3, last));
      }
      std::sort(spans.begin(), spans.end());
      for (int64_t i = 0; i <= last - 3; ++i) {
        EXPECT_EQ(spans[i], 3 + i);
      }
    }
  }
  EXPECT_EQ(visited_span(VisitOrder::kSinkDiagonalInward, 0, 0, 5), 0);
  EXPECT_EQ(visited_span(VisitOrder::kSinkDiagonalInward, 1, 0, 5), 5);
  EXPECT_EQ(visited_span(VisitOrder::kSinkDiagonalInward, 2, 0, 5), 4);
}

TEST(TilePlan, ValidateNamesWhatIsWrong) {
  EXPECT_THROW(validate(TilePlan{.rows = 0}, 1), Error);
  EXPECT_THROW(validate(TilePlan{.heads = 2}, 3), Error);
  EXPECT_THROW(validate(TilePlan{.keys = 16, .span = 24}, 1), Error);
  EXPECT_THROW(validate(TilePlan{.keys = 16, .span = 32, .split = 48}, 1), Error);
  EXPECT_NO_THROW(validate(TilePlan{.heads = 3}, 3));
}

TEST(AttentionShape, ValidateNamesWhatIsWrong) {
  const AttentionShape good{.num_heads = 4, .num_kv_heads = 2, .head_dim = 8, .scale = 1.0f};
  EXPECT_NO_THROW(validate(good));
  AttentionShape bad = good;
  bad.num_kv_heads = 3;
  EXPECT_THROW(validate(bad), Error);
  bad = good;
  bad.scale = -1.0f;
  EXPECT_THROW(validate(bad), Error);
  bad = good;
  bad.window = -1;
  EXPECT_THROW(validate(bad), Error);
}

TEST(Reference, RefusesMoreQueriesThanKeys) {
  const float x[8] = {};
  const AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 1, .scale = 1.0f};
  EXPECT_THROW(reference_attention({shape, 5, 4, x, x, x}, {}, 0.0), Error);
}

constexpr char kModelOptimizer[] = R"json({
  "sparse_attention_config": {"config_groups": {"group_0": {"threshold_scale_factor": {
    "formula": "a * exp(b * target_sparsity)",
    "prefill": {"a": 7.93, "b": 8.61}, "decode": {"a": 0.12, "b": 9.85}}}}}})json";

// Published fit of Qwen3-30B-A3B: 50 % → 587, 70 % → 3293 in prefill; 16.5 and 118.6 in decode.
TEST(Profile, ReadsModelOptimizersFormAndReproducesThePublishedFactors) {
  const SkipProfile profile = parse_skip_profile(kModelOptimizer, "config.json");
  EXPECT_NEAR(factor_for_sparsity(profile, Phase::kPrefill, 0.5), 587.0, 0.5);
  EXPECT_NEAR(factor_for_sparsity(profile, Phase::kPrefill, 0.7), 3287.0, 10.0);
  EXPECT_NEAR(factor_for_sparsity(profile, Phase::kDecode, 0.5), 16.5, 0.1);
  EXPECT_NEAR(factor_for_sparsity(profile, Phase::kDecode, 0.7), 118.4, 0.5);
  EXPECT_EQ(factor_for_sparsity(profile, Phase::kDecode, 0.0), 0.0);
  EXPECT_THROW(factor_for_sparsity(profile, Phase::kDecode, 1.0), Error);
  EXPECT_THROW(factor_for_sparsity(profile, Phase::kDecode, -0.1), Error);
  EXPECT_THROW(factor_for_sparsity(profile, Phase::kDecode, std::nan("")), Error);
}

TEST(Profile, RoundTripsThroughJson) {
  SkipProfile profile;
  profile.model = "a model";
  profile.fit.prefill = SkipFit{2.5, 7.25};
  profile.plan.prefill = TilePlan{};
  profile.min_context = 2048;
  const SkipProfile again = parse_skip_profile(to_json(profile), "profile.json");
  EXPECT_EQ(again.model, profile.model);
  EXPECT_EQ(again.min_context, 2048);
  EXPECT_EQ(again.plan, profile.plan);
  EXPECT_EQ(again.fit.prefill->b, 7.25);
  EXPECT_FALSE(again.fit.decode.has_value());
  EXPECT_THAT([&] { factor_for_sparsity(again, Phase::kDecode, 0.5); },
              ThrowsMessage<Error>(HasSubstr("no fit for decode")));
}

TEST(Profile, ABadTilePlanIsCorruptAndNamesTheFile) {
  for (const std::string& plan : {std::string("16x16 sideways"), std::string(1 << 20, 'a')}) {
    const std::string text =
        R"({"config_groups": {"g": {"threshold_scale_factor": {"prefill": {"a": 1, "b": 1}}}},)"
        R"( "hopskip": {"tile_plan": {"prefill": ")" +
        plan + "\"}}}";
    try {
      parse_skip_profile(text, "p.json");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr("p.json: '"));
      EXPECT_LT(std::string(error.what()).size(), 1000u);
    }
  }
}

TEST(Profile, RefusesWhatIsMalformedAndNamesTheFile) {
  const std::string nested = std::string(5000, '[');
  for (
      const std::string& text :
      {std::string("{"), std::string("[]"), std::string("{}"), nested,
       std::string(R"({"config_groups": 3})"), std::string(R"({"config_groups": {"g": {}}})"),
       std::string(R"({"config_groups": {"g": {"threshold_scale_factor": {}}}})"),
       std::string(R"({"config_groups": {"g": {"threshold_scale_factor": {"prefill": 3}}}})"),
       std::string(
           R"({"config_groups": {"g": {"threshold_scale_factor": {"prefill": {"a": -1, "b": 1}}}}})"),
       std::string(
           R"({"config_groups": {"g": {"threshold_scale_factor": {"prefill": {"a": 1, "b": 1}}}}, "hopskip": 1})")}) {
    EXPECT_THAT([&] { parse_skip_profile(text, "p.json"); },
                ThrowsMessage<Error>(HasSubstr("p.json")))
        << text.substr(0, 40);
  }
}

TEST(SkipSoftmaxConfig, ValidateNamesTheSetting) {
  const auto factor = [](double prefill, double decode) {
    SkipSoftmaxConfig config;
    config.threshold_scale_factor = PerPhase<double>{prefill, decode};
    return config;
  };
  EXPECT_NO_THROW(validate(SkipSoftmaxConfig{}));
  EXPECT_NO_THROW(validate(factor(1000.0, 0.0)));
  for (double bad : {-1.0, std::nan(""), double{kInf}}) {
    EXPECT_THAT([&] { validate(factor(1.0, bad)); }, ThrowsMessage<Error>(HasSubstr("decode")));
    EXPECT_THAT([&] { validate(factor(bad, 1.0)); }, ThrowsMessage<Error>(HasSubstr("prefill")));
  }
  SkipSoftmaxConfig both = factor(1.0, 1.0);
  both.target_sparsity = PerPhase<double>{0.5, 0.5};
  EXPECT_THROW(validate(both), Error);
  SkipSoftmaxConfig sparsity;
  sparsity.target_sparsity = PerPhase<double>{1.0, 0.5};
  EXPECT_THROW(validate(sparsity), Error);
}

TEST(SkipRule, TheBoundIsTheRule) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kLargest = std::numeric_limits<float>::max();
  const std::vector<float> values = {-kInfinity, -kLargest, -1e30f, -9.0f,    -8.0f,
                                     -1.0f,      0.0f,      1.0f,   kLargest, std::nanf("")};
  for (float running : values) {
    for (float threshold : {-kInfinity, -kLargest, -1e30f, -8.0f, -1.0f, 0.0f, std::nanf("")}) {
      for (float tile : values) {
        EXPECT_EQ(below_skip_bound(tile, skip_bound(running, threshold)),
                  row_agrees_to_skip(tile, running, threshold))
            << tile << " against " << running << " at " << threshold;
      }
    }
  }
}

}  // namespace
}  // namespace hopskip
