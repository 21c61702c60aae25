#include "models/layers/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/error_matchers.h"

namespace hopskip {
namespace {

ModelConfig config_of(int64_t head_dim, double theta) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = theta;
  return config;
}

void expect_frequencies(const Rope& rope, const std::vector<std::pair<int, double>>& expected) {
  for (const auto& [pair, frequency] : expected) {
    EXPECT_NEAR(rope.inv_freq.at(pair) / frequency, 1.0, 1e-5) << "pair " << pair;
  }
}

TEST(Rope, PlainFrequencies) {
  const Rope rope = make_rope(config_of(8, 10000.0));
  ASSERT_EQ(rope.inv_freq.size(), 4u);
  expect_frequencies(rope, {{0, 1.0}, {1, 0.1}, {2, 0.01}, {3, 0.001}});
  EXPECT_EQ(rope.magnitude, 1.0f);
  EXPECT_FALSE(rope.interleaved);
}

TEST(Rope, LinearDividesAll) {
  ModelConfig config = config_of(8, 10000.0);
  config.rope_scaling.type = RopeScalingType::kLinear;
  config.rope_scaling.factor = 4.0;
  expect_frequencies(make_rope(config), {{0, 0.25}, {3, 0.00025}});
}

// Values of transformers 5's ROPE_INIT_FUNCTIONS["llama3"] for Llama 3.1: head_dim 128, θ 500000.
TEST(Rope, Llama3) {
  ModelConfig config = config_of(128, 500000.0);
  config.rope_scaling.type = RopeScalingType::kLlama3;
  config.rope_scaling.factor = 8.0;
  config.rope_scaling.low_freq_factor = 1.0;
  config.rope_scaling.high_freq_factor = 4.0;
  config.rope_scaling.original_max_position = 8192;
  expect_frequencies(make_rope(config), {{0, 1},
                                         {20, 0.0165604409},
                                         {28, 0.00321144611},
                                         {29, 0.00216657063},
                                         {32, 0.000524846022},
                                         {34, 0.000178507791},
                                         {35, 9.55621217e-05},
                                         {40, 3.42810235e-05},
                                         {63, 3.06892588e-07}});
}

// The same for "yarn", Qwen2.5's settings: head_dim 128, θ 1000000, factor 4 of 32768.
TEST(Rope, Yarn) {
  ModelConfig config = config_of(128, 1000000.0);
  config.rope_scaling.type = RopeScalingType::kYarn;
  config.rope_scaling.factor = 4.0;
  config.rope_scaling.original_max_position = 32768;
  config.rope_scaling.attention_factor = 1.1386294361119891;
  const Rope rope = make_rope(config);
  expect_frequencies(rope, {{0, 1},
                            {20, 0.0133352149},
                            {23, 0.00697830599},
                            {24, 0.00537532149},
                            {30, 0.00106436096},
                            {36, 0.000179841154},
                            {39, 6.4903943e-05},
                            {40, 4.44569851e-05},
                            {63, 3.10234441e-07}});
  EXPECT_FLOAT_EQ(rope.magnitude, 1.1386294f);
  config.rope_scaling.truncate = false;
  expect_frequencies(make_rope(config), {{0, 1},
                                         {20, 0.0133352149},
                                         {23, 0.00697830599},
                                         {24, 0.00551727042},
                                         {30, 0.00107923767},
                                         {36, 0.000177344235},
                                         {39, 6.18780759e-05},
                                         {40, 4.44569851e-05},
                                         {63, 3.10234441e-07}});
}

TEST(Rope, FrequencyFactorsOfGgufDivide) {
  ModelConfig config = config_of(8, 10000.0);
  config.rope_freq_factors = {1.0f, 2.0f, 4.0f, 8.0f};
  config.rope_interleaved = true;
  const Rope rope = make_rope(config);
  expect_frequencies(rope, {{0, 1.0}, {1, 0.05}, {2, 0.0025}, {3, 0.000125}});
  EXPECT_TRUE(rope.interleaved);
  config.rope_freq_factors.pop_back();
  EXPECT_ERROR(ErrorCode::kCorrupt, "rope_freqs has 3 values", make_rope(config));
}

}  // namespace
}  // namespace hopskip
