#include "models/layers/kv_scales.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/float16.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

class KvScalesTest : public testing::Test {
 protected:
  KvScalesTest() {
    checkpoint_.path = "somewhere";
    checkpoint_.config.num_layers = 2;
  }
  void add(const std::string& name, const float* value, int rank = 0, int64_t count = 1) {
    TensorView view{value, DType::kF32, rank, {}};
    view.shape[0] = count;
    checkpoint_.tensors.emplace("model.layers." + name, view);
  }
  void expect(int layer, float k, float v) {
    const std::vector<KvScale> scales = kv_scales(checkpoint_);
    ASSERT_EQ(scales.size(), 2u);
    EXPECT_EQ(scales[layer].k, k);
    EXPECT_EQ(scales[layer].v, v);
  }

  Checkpoint checkpoint_;
  const float half_ = 0.5f, third_ = 1.0f / 3.0f;
};

TEST_F(KvScalesTest, AreOneUnlessTheCheckpointHasThem) {
  expect(0, 1.0f, 1.0f);
  expect(1, 1.0f, 1.0f);
}

TEST_F(KvScalesTest, AreFoundUnderTheNamesInUse) {
  add("0.self_attn.k_proj.k_scale", &half_, 1);
  add("0.self_attn.v_proj.v_scale", &third_, 0);
  add("1.self_attn.k_scale", &third_, 1);
  add("1.self_attn.v_scale", &half_, 1);
  expect(0, 0.5f, 1.0f / 3.0f);
  expect(1, 1.0f / 3.0f, 0.5f);
}

TEST_F(KvScalesTest, OneOfThemHoldsForBoth) {
  add("0.self_attn.kv_scale", &half_);
  add("1.self_attn.v_scale", &third_);
  expect(0, 0.5f, 0.5f);
  expect(1, 1.0f / 3.0f, 1.0f / 3.0f);
}

TEST_F(KvScalesTest, ComeInAnyType) {
  const bf16 value(0.75f);
  checkpoint_.tensors.emplace("model.layers.0.self_attn.k_scale",
                              TensorView{&value, DType::kBF16, 1, {1}});
  expect(0, 0.75f, 0.75f);
}

TEST_F(KvScalesTest, OnesThatAreNoScaleAreNamed) {
  const float zero = 0.0f;
  add("1.self_attn.k_scale", &zero);
  EXPECT_ERROR(ErrorCode::kCorrupt, "somewhere: 'model.layers.1.self_attn.k_scale' is 0",
               kv_scales(checkpoint_));
  const float of_heads[4] = {1, 1, 1, 1};
  add("0.self_attn.v_scale", of_heads, 1, 4);
  EXPECT_ERROR(ErrorCode::kUnsupported, "'model.layers.0.self_attn.v_scale' has 4 values",
               kv_scales(checkpoint_));
}

}  // namespace
}  // namespace hopskip
