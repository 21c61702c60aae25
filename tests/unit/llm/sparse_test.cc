#include "llm/sparse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "llm/nearest.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const PerPhase<TilePlan> kPlans{{.rows = 16}, {.rows = 1}};

SkipSoftmaxConfig target(double prefill, double decode) {
  return {.target_sparsity = PerPhase<double>{prefill, decode}};
}

SkipProfile some_profile() {
  SkipProfile profile{.model = std::string("m")};
  profile.fit = {SkipFit{8.0, 8.0}, SkipFit{0.1, 10.0}};
  profile.plan = {kPlans.prefill, kPlans.decode};
  profile.min_context = 512;
  return profile;
}

SequenceStats some_stats(double factor, int64_t below) {
  SequenceStats stats;
  stats.prompt_tokens = 100;
  stats.phases.prefill = {.threshold_scale_factor = factor,
                          .tokens = 100,
                          .steps = 1,
                          .tokens_below_min_context = below,
                          .counts = {}};
  return stats;
}

TEST(Sparse, FactorsPassAndNothingIsDense) {
  const SparseSettings given =
      resolve_sparse({.threshold_scale_factor = PerPhase<double>{5.0, 6.0}}, {}, "m", kPlans);
  EXPECT_EQ(given.threshold_scale_factor, (PerPhase<double>{5.0, 6.0}));
  EXPECT_EQ(given.min_context, 0);
  EXPECT_EQ(resolve_sparse({}, some_profile(), "m", kPlans).threshold_scale_factor,
            (PerPhase<double>{0.0, 0.0}));
}

TEST(Sparse, TargetGoesThroughTheProfile) {
  const SparseSettings settings = resolve_sparse(target(0.5, 0.0), some_profile(), "m", kPlans);
  EXPECT_NEAR(settings.threshold_scale_factor.prefill, 8.0 * std::exp(4.0), 1e-9);
  EXPECT_EQ(settings.threshold_scale_factor.decode, 0.0);
  EXPECT_EQ(settings.min_context, 512);
  EXPECT_THAT(settings.notices, IsEmpty());
}

TEST(Sparse, RefusesWhatDoesNotFit) {
  EXPECT_ERROR(kInvalid, "needs a profile", resolve_sparse(target(0.5, 0.5), {}, "m", kPlans));
  EXPECT_ERROR(kInvalid, "fitted for 'm', not for 'other'",
               resolve_sparse(target(0.5, 0.5), some_profile(), "other", kPlans));
  EXPECT_ERROR(kInvalid, "tile plan",
               resolve_sparse(target(0.5, 0.5), some_profile(), "m",
                              {{.rows = 64, .keys = 128}, kPlans.decode}));
  EXPECT_ERROR(kInvalid, "1.5", resolve_sparse(target(1.5, 0.0), some_profile(), "m", kPlans));
  SkipProfile prefill_only = some_profile();
  prefill_only.fit.decode.reset();
  EXPECT_ERROR(kInvalid, "no fit for decode",
               resolve_sparse(target(0.5, 0.5), prefill_only, "m", kPlans));
}

TEST(Sparse, AnnouncesAProfileWithoutTilePlan) {
  SkipProfile profile = some_profile();
  profile.plan = {};
  EXPECT_THAT(resolve_sparse(target(0.5, 0.0), profile, "m", kPlans).notices,
              ElementsAre(HasSubstr("prefill: the profile does not say which tiles")));
}

TEST(Sparse, AnnouncesDenseRunsAndClamping) {
  EXPECT_THAT(sparse_notices({}, some_stats(50.0, 0)), IsEmpty());
  EXPECT_THAT(sparse_notices({}, some_stats(500.0, 0)),
              ElementsAre(HasSubstr("factor 500 exceeds the 100 tokens")));
  EXPECT_THAT(sparse_notices({.min_context = 512}, some_stats(50.0, 100)),
              ElementsAre("prefill: dense for 100 of 100 tokens, below the profile's minimum "
                          "context of 512"));
}

TEST(Nearest, FindsASpellingOrNothing) {
  const std::vector<std::string> known{"threads", "device", "prefix_reuse"};
  EXPECT_EQ(nearest("treads", known), "threads");
  EXPECT_EQ(nearest("devcie", known), "device");
  EXPECT_EQ(nearest("qqqqqq", known), "");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace hopskip
