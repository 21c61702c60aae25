// What an FP8 KV cache means, by the reference backend; the other host backend has none.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/float8.h"
#include "kernels/backend.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

constexpr int kHeadDim = 64;

KvConfig fp8_config() {
  KvConfig config;
  config.num_layers = 2;
  config.num_kv_heads = 1;
  config.head_dim = kHeadDim;
  config.dtype = DType::kF8E4M3;
  config.num_pages = 2;
  return config;
}

// A query that sees one key gets its value, whatever the key is: what the cache of layer 1 makes of
// `values`.
std::vector<float> stored_values(const KvConfig& config, const std::vector<float>& values) {
  const auto backend = make_backend("reference");
  const auto kv = backend->make_kv_storage(config);
  const int32_t id = 0;
  const int32_t page = 1;
  const AttentionSequence sequence{0, 1, 1, {&page, 1}};
  const auto step = backend->begin_step({.tokens = {&id, 1},
                                         .positions = {&id, 1},
                                         .sequences = {&sequence, 1},
                                         .kv = kv.get(),
                                         .num_heads = 1});
  const auto matrix = [&] { return backend->allocate(1, kHeadDim, MatrixKind::kActivation); };
  const Matrix q = matrix(), k = matrix(), v = matrix(), out = matrix();
  for (int i = 0; i < kHeadDim; ++i) {
    q.values()[i] = k.values()[i] = 1.0f;
    v.values()[i] = values[i];
  }
  AttentionShape shape;
  shape.num_heads = shape.num_kv_heads = 1;
  shape.head_dim = kHeadDim;
  shape.scale = 0.125f;
  backend->kv_append(*step, 1, k, v);
  backend->attention(*step, shape, 1, q, out);
  backend->end_step(*step);
  return {out.values(), out.values() + kHeadDim};
}

std::vector<float> some_values() {
  std::vector<float> values;
  for (int i = 0; i < kHeadDim; ++i) {
    values.push_back((i % 2 == 0 ? 1.0f : -1.0f) *
                     std::ldexp(1.0f + 0.37f * float(i % 3), i / 4 - 5));
  }
  return values;
}

TEST(Fp8Kv, TakesHalfTheBytes) {
  KvConfig bf16 = fp8_config();
  bf16.dtype = DType::kBF16;
  EXPECT_EQ(2 * fp8_config().bytes_per_page(), bf16.bytes_per_page());
}

TEST(Fp8Kv, StoresTheNearestOfItsValues) {
  const std::vector<float> values = some_values();
  const std::vector<float> got = stored_values(fp8_config(), values);
  for (int i = 0; i < kHeadDim; ++i) {
    EXPECT_EQ(got[i], static_cast<float>(fp8_e4m3(values[i])));
    EXPECT_TRUE(std::isfinite(got[i]));
  }
}

TEST(Fp8Kv, EachLayerHasItsScale) {
  KvConfig config = fp8_config();
  config.scales = {{1.0f, 1.0f}, {0.3f, 7.5f}};
  const std::vector<float> values = some_values();
  const std::vector<float> got = stored_values(config, values);
  for (int i = 0; i < kHeadDim; ++i) {
    EXPECT_FLOAT_EQ(got[i], 7.5f * static_cast<float>(fp8_e4m3(values[i] * (1.0f / 7.5f))));
  }
}

TEST(Fp8Kv, WhatIsTooLargeBecomesTheLargest) {
  std::vector<float> values(kHeadDim, 1e6f);
  values[1] = -1e6f;
  values[2] = std::numeric_limits<float>::infinity();
  const std::vector<float> got = stored_values(fp8_config(), values);
  EXPECT_EQ(got[0], 448.0f);
  EXPECT_EQ(got[1], -448.0f);
  EXPECT_EQ(got[2], 448.0f);
}

TEST(Fp8Kv, ScalesAreChecked) {
  const auto backend = make_backend("reference");
  KvConfig config = fp8_config();
  config.scales = {{1.0f, 1.0f}};
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "fp8 of 2 layers with 1 scales",
               backend->make_kv_storage(config));
  config.scales = {{1.0f, 1.0f}, {1.0f, 0.0f}};
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "KV scales of 1 and 0",
               backend->make_kv_storage(config));
  config.scales = {{1.0f, 1.0f}, {NAN, 1.0f}};
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "positive and finite",
               backend->make_kv_storage(config));
  config.scales = {{1.0f, 1.0f}, {2.0f, 1.0f}};
  config.dtype = DType::kBF16;
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "bf16 of 2 layers with 2 scales",
               backend->make_kv_storage(config));
}

TEST(Fp8Kv, TheCpuSaysWhatToUseInstead) {
  EXPECT_ERROR(ErrorCode::kUnsupported, "K and V in fp8: use bf16 or f16, or a GPU",
               make_backend("cpu")->make_kv_storage(fp8_config()));
  EXPECT_ERROR(ErrorCode::kUnsupported, "use bf16 or f16, or a GPU",
               make_backend("cpu")->check_kv(fp8_config()));
}

}  // namespace
}  // namespace hopskip
