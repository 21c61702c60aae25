#include "calibrate/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/error_matchers.h"
#include "support/tiny_text_model.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

class CalibrateTest : public testing::Test {
 protected:
  CalibrateTest() {
    for (int i = 0; i < 300; ++i) {
      text_.push_back((i * i + 7 * i) % 256);
    }
  }

  test::TinyTextModel model_;
  LLM llm_{{.model = model_.path(), .device = "reference"}};
  std::vector<int32_t> text_;
};

TEST_F(CalibrateTest, RefusesWhatDoesNotFit) {
  const auto expect = [&](const char* message, const CalibrationOptions& options) {
    EXPECT_ERROR(kInvalid, message, calibrate(llm_, text_, options));
  };
  const PerPhase<std::vector<double>> factors{{1}, {1}};
  expect("must lie in 2…128", {.length = 129, .factors = factors});
  expect("300 tokens, which is 2 windows of 128: 3", {.windows = 3, .factors = factors});
  expect("128 tokens to decode is outside 1…127", {.decode_tokens = 128, .factors = factors});
  expect("nothing to calibrate", {.target = {}, .factors = factors});
  expect("target sparsity for decode is 0.99", {.target = {0.5, 0.99}, .factors = factors});
  expect("prefill factor 300 is outside 0…128", {.factors = {{300}, {1}}});
  expect("decode factor 0 is outside 0…128", {.factors = {{1}, {0}}});
  expect("decode factor nan is outside 0…128; it must be a number", {.factors = {{1}, {NAN}}});
  expect("windows is 0", {.windows = 0, .factors = factors});
}

TEST_F(CalibrateTest, SaysWhereNothingIsSkipped) {
  // Random weights attend to everything alike: at these factors no tile is below the threshold.
  EXPECT_ERROR(kInvalid, "prefill: two factors have to skip 5 to 95 % of the tiles (skipped: 0.0 %",
               calibrate(llm_, text_, {.factors = {{0.01, 0.1}, {0.01, 0.1}}}));
}

}  // namespace
}  // namespace hopskip
