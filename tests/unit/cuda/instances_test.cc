#include "kernels/cuda/instances.h"

#include <gtest/gtest.h>

namespace hopskip::cuda {
namespace {

constexpr ScalarType kBF16 = ScalarType::kBF16;
constexpr ScalarType kF16 = ScalarType::kF16;
constexpr ScalarType kF8 = ScalarType::kF8E4M3;
constexpr Instance kInstances[] = {
    {64, kBF16, kBF16, nullptr}, {128, kBF16, kBF16, nullptr}, {128, kF16, kF8, nullptr}};

AttentionConfig config(int head_dim, ScalarType q_type, ScalarType kv_type) {
  AttentionConfig config;
  config.head_dim = head_dim;
  config.q_type = q_type;
  config.kv_type = kv_type;
  return config;
}

TEST(Instances, FindsTheOneThatFits) {
  EXPECT_EQ(find_instance(kInstances, config(128, kF16, kF8)), &kInstances[2]);
  EXPECT_EQ(why_no_instance(kInstances, config(128, kF16, kF8)), "");
  EXPECT_EQ(find_instance(kInstances, config(64, kF16, kF8)), nullptr);
}

TEST(Instances, SaysWhatThereIs) {
  EXPECT_EQ(why_no_instance(kInstances, config(80, kBF16, kBF16)),
            "head_dim 80 is not one of 64, 128");
  EXPECT_EQ(why_no_instance(kInstances, config(128, kBF16, kF8)),
            "q_type bf16 with kv_type fp8 is not one of bf16 with bf16, f16 with fp8 at "
            "head_dim 128");
}

}  // namespace
}  // namespace hopskip::cuda
