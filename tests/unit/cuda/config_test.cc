#include <gtest/gtest.h>

#include <cmath>

#include "hopskip/attention.h"
#include "hopskip/error.h"
#include "kernels/cuda/config_check.h"
#include "support/error_matchers.h"
#include "unit/cuda/fake_kernel.h"

namespace hopskip::cuda {
namespace {

TEST(Config, EveryFieldIsCheckedByName) {
  const auto expect = [](const char* message, auto change) {
    SCOPED_TRACE(message);
    AttentionConfig config = test::valid_config(Phase::kPrefill);
    change(config);
    EXPECT_ERROR(ErrorCode::kInvalidArgument, message, validate(config));
  };
  EXPECT_NO_THROW(validate(test::valid_config(Phase::kPrefill)));
  expect("phase is 7", [](auto& c) { c.phase = static_cast<Phase>(7); });
  expect("device is -1", [](auto& c) { c.device = -1; });
  expect("0 query heads", [](auto& c) { c.num_heads = 0; });
  expect("8 query heads cannot share 3 KV heads", [](auto& c) { c.num_kv_heads = 3; });
  expect("num_heads is", [](auto& c) { c.num_heads = 1 << 20; });
  expect("head_dim is 0", [](auto& c) { c.head_dim = 0; });
  expect("head_dim is", [](auto& c) { c.head_dim = 1 << 20; });
  expect("q_type is fp8", [](auto& c) { c.q_type = ScalarType::kF8E4M3; });
  expect("kv_type is f16", [](auto& c) { c.kv_type = ScalarType::kF16; });
  expect("kv_type is fp8", [](auto& c) { c.kv_type = ScalarType::kF8E4M3; });
  expect("scale is", [](auto& c) { c.scale = -1.0f; });
  expect("scale is", [](auto& c) { c.scale = NAN; });
  expect("window is -1", [](auto& c) { c.window = -1; });
  expect("page_size is 48", [](auto& c) { c.page_size = 48; });
  expect("max_sequences is 0", [](auto& c) { c.max_sequences = 0; });
  expect("max_pages is 0", [](auto& c) { c.max_pages = 0; });
  expect("max_pages is 1000 without pages", [](auto& c) { c.page_size = 0; });
}

TEST(Config, DecodeTakesFp8Keys) {
  AttentionConfig config = test::valid_config(Phase::kDecode);
  config.kv_type = ScalarType::kF8E4M3;
  EXPECT_NO_THROW(validate(config));
}

TEST(Config, AScaleOfZeroIsTheUsualOne) {
  AttentionConfig config = test::valid_config(Phase::kDecode);
  EXPECT_FLOAT_EQ(shape_of(config).scale, 1.0f / std::sqrt(128.0f));
  config.scale = 0.5f;
  EXPECT_EQ(shape_of(config).scale, 0.5f);
}

TEST(Candidates, AreAskedWithoutThrowing) {
  for (const Phase phase : kPhases) {
    const AttentionConfig config = test::valid_config(phase);
    const std::vector<AttentionCandidate> candidates = attention_candidates(config);
    EXPECT_FALSE(candidates.empty());
    for (const AttentionCandidate& candidate : candidates) {
      EXPECT_FALSE(candidate.name.empty());
      if (list_gpus().empty()) {
        EXPECT_FALSE(candidate.why_not.empty()) << candidate.name;
      }
    }
    for (const AttentionCandidate& candidate : attention_candidates({.phase = phase})) {
      EXPECT_FALSE(candidate.why_not.empty()) << "a config without heads";
    }
  }
}

TEST(Candidates, WithoutAGpuTheConstructorGivesTheirReasons) {
  if (!list_gpus().empty()) {
    GTEST_SKIP() << "there is a GPU here";
  }
  const AttentionConfig config = test::valid_config(Phase::kPrefill);
  for (const AttentionCandidate& candidate : attention_candidates(config)) {
    EXPECT_ERROR(ErrorCode::kUnsupported, candidate.why_not, Attention{config});
  }
}

}  // namespace
}  // namespace hopskip::cuda
