#include "kernels/cuda/tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "hopskip/error.h"
#include "support/error_matchers.h"
#include "unit/cuda/fake_kernel.h"

namespace hopskip::cuda {
namespace {

alignas(16) char g_memory[64];  // tensors are never read here
constexpr PlannedExtents kPlanned{10, 0, 7};

AttentionTensors valid_tensors() {
  AttentionTensors t;
  t.q = t.k = t.v = g_memory;
  t.out = g_memory;
  t.q_rows = 10;
  t.num_pages = 7;
  return t;
}

TEST(Tensors, DefaultStridesAreDense) {
  const AttentionArgs args =
      make_args(test::valid_config(Phase::kPrefill), valid_tensors(), kPlanned);
  EXPECT_EQ(args.q_head_stride, 128);
  EXPECT_EQ(args.q_row_stride, 8 * 128);
  EXPECT_EQ(args.out_row_stride, 8 * 128);
  EXPECT_EQ(args.kv.head, 128);
  EXPECT_EQ(args.kv.token, 2 * 128);
  EXPECT_EQ(args.kv.page, 64 * 2 * 128);
  EXPECT_EQ(args.page_log2, 6);
  EXPECT_EQ(args.group, 4);
  EXPECT_FLOAT_EQ(args.scale_log2, std::numbers::log2e_v<float> / std::sqrt(128.0f));
}

TEST(Tensors, HeadsMayComeFirst) {
  AttentionTensors t = valid_tensors();
  t.kv_head_stride = 64 * 128;
  t.kv_token_stride = 128;
  const AttentionArgs args = make_args(test::valid_config(Phase::kPrefill), t, kPlanned);
  EXPECT_EQ(args.kv.head, 64 * 128);
  EXPECT_EQ(args.kv.token, 128);
  EXPECT_EQ(args.kv.page, 64 * 2 * 128);
}

TEST(Tensors, QueriesMayBeAPartOfAPackedProjection) {
  AttentionTensors t = valid_tensors();
  t.q_row_stride = (8 + 2 + 2) * 128;
  EXPECT_EQ(make_args(test::valid_config(Phase::kPrefill), t, kPlanned).q_row_stride, 1536);
}

TEST(Tensors, Fp8ScalesJoinTheScale) {
  AttentionConfig config = test::valid_config(Phase::kDecode);
  config.kv_type = ScalarType::kF8E4M3;
  AttentionTensors t = valid_tensors();
  t.k_scale = 2.0f;
  t.v_scale = 3.0f;
  const AttentionArgs args = make_args(config, t, kPlanned);
  EXPECT_FLOAT_EQ(args.scale_log2, 2.0f * std::numbers::log2e_v<float> / std::sqrt(128.0f));
  EXPECT_EQ(args.v_scale, 3.0f);
}

TEST(Tensors, ErrorsNameTheTensor) {
  const auto expect = [](const char* message, auto change) {
    SCOPED_TRACE(message);
    AttentionConfig config = test::valid_config(Phase::kPrefill);
    AttentionTensors t = valid_tensors();
    change(config, t);
    EXPECT_ERROR(ErrorCode::kInvalidArgument, message, make_args(config, t, kPlanned));
  };
  expect("q is null", [](auto&, auto& t) { t.q = nullptr; });
  expect("out is null", [](auto&, auto& t) { t.out = nullptr; });
  expect("k is not aligned", [](auto&, auto& t) { t.k = g_memory + 8; });
  expect("v is null", [](auto&, auto& t) { t.v = nullptr; });
  expect("lse is not aligned",
         [](auto&, auto& t) { t.lse = reinterpret_cast<float*>(g_memory + 2); });
  expect("q_rows is 9, but the plan uses 10", [](auto&, auto& t) { t.q_rows = 9; });
  expect("num_pages is 6, but the plan uses 7", [](auto&, auto& t) { t.num_pages = 6; });
  expect("q_row_stride is 1016; 1024", [](auto&, auto& t) { t.q_row_stride = 1016; });
  expect("q_head_stride is 64; 128", [](auto&, auto& t) { t.q_head_stride = 64; });
  expect("q_row_stride is -8", [](auto&, auto& t) { t.q_row_stride = -8; });
  expect("out_row_stride of 1025", [](auto&, auto& t) { t.out_row_stride = 1025; });
  expect("kv_page_stride is 16376", [](auto&, auto& t) { t.kv_page_stride = 64 * 256 - 8; });
  expect("kv_head_stride is", [](auto&, auto& t) { t.kv_head_stride = int64_t{1} << 50; });
  // 2^34 · 2^30 is 0 in 64 bits.
  expect("q_head_stride is 549755813888; ", [](auto&, auto& t) {
    t.q_rows = (int64_t{1} << 30) + 1;
    t.q_row_stride = int64_t{1} << 34;
    t.q_head_stride = int64_t{1} << 39;
  });
  expect("kv_token_stride is 128; 256", [](auto&, auto& t) { t.kv_token_stride = 128; });
  expect("k_scale is 2", [](auto&, auto& t) { t.k_scale = 2.0f; });
  expect("v_scale is -1", [](auto&, auto& t) { t.v_scale = -1.0f; });
  expect("kv_page_stride is 64 without pages", [](auto& c, auto& t) {
    c.page_size = 0;
    t.kv_tokens = 100;
    t.kv_page_stride = 64;
  });
}

}  // namespace
}  // namespace hopskip::cuda
