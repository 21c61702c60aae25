// The candidates of rows of logits: the CPU backend, on every instruction set, and the reference
// against the obvious.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "parity/kernels/cpu_case.h"
#include "support/error_matchers.h"

namespace hopskip::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class TopCandidatesTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> make() {
    return GetParam() == "reference" ? reference() : cpu(GetParam());
  }
  void expect_candidates(Backend& backend, Matrix logits, int64_t count) {
    SCOPED_TRACE(testing::Message() << count << " of " << logits.cols);
    backend.reset_workspace();
    const Matrix out = backend.allocate(logits.rows, candidate_cols(count), MatrixKind::kExact);
    backend.top_candidates(logits, out);
    const CandidateRows found = backend.read_candidates(out);
    ASSERT_EQ(found.rows(), logits.rows);
    for (int64_t row = 0; row < logits.rows; ++row) {
      std::vector<Candidate> want;
      double largest = -INFINITY;
      for (int64_t i = 0; i < logits.cols; ++i) {
        const float x = logits.row(row)[i];
        want.push_back({static_cast<int32_t>(i), std::isnan(x) ? -kInfinity : x});
        largest = std::max(largest, double{want.back().logit});
      }
      double sum = 0.0;
      for (int64_t i = 0; i < logits.cols; ++i) {
        sum += std::exp(double{logits.row(row)[i]} - largest);
      }
      std::ranges::sort(want, before);
      const RowCandidates got = found[row];
      ASSERT_EQ(std::ssize(got.top), count);
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(got.top[i].id, want[i].id) << "row " << row << ", place " << i;
        ASSERT_EQ(got.top[i].logit, want[i].logit);
      }
      if (std::isnan(sum)) {
        ASSERT_TRUE(std::isnan(got.sum_exp)) << "row " << row;
      } else {
        ASSERT_NEAR(got.sum_exp, sum, 0.5 * kSumExpError * sum) << "row " << row;
      }
    }
  }
};

TEST_P(TopCandidatesTest, AreTheLargestInOrder) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto backend = make();
  for (int64_t vocab : {1, 2, 63, 64, 65, 128, 130, 1000, 5000, 49152}) {
    GuardedMatrix guarded(12, vocab, random);
    const Matrix logits = guarded.get();
    const auto any = [&] { return std::uniform_int_distribution<int64_t>(0, vocab - 1)(random); };
    for (int64_t i = 0; i < vocab; ++i) {
      logits.row(1)[i] = 1.0f;                                 // all equal
      logits.row(2)[i] = std::round(4.0f * logits.row(2)[i]);  // ties, also of −0 and 0
      logits.row(3)[i] = static_cast<float>(i) * 0.01f;        // rising
      logits.row(4)[i] *= 100.0f;                              // beyond e^−87
      logits.row(5)[i] = i == vocab / 2 ? -1e30f : -kInfinity;
      logits.row(6)[i] = -kInfinity;
      logits.row(7)[i] = kInfinity;
      logits.row(8)[i] = std::nanf("");
      logits.row(11)[i] = i % 3 == 0 ? logits.row(11)[i] : -kInfinity;  // many excluded
    }
    logits.row(9)[any()] = std::nanf("");
    logits.row(10)[any()] = kInfinity;
    for (int64_t count : {int64_t{1}, int64_t{20}, kMostCandidates}) {
      expect_candidates(*backend, logits, std::min(count, vocab));
    }
    EXPECT_TRUE(guarded.guards_untouched());
  }
}

TEST_P(TopCandidatesTest, RefuseWhatTheyCannotHold) {
  const auto backend = make();
  constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
  const auto run = [&](int64_t vocab, int64_t cols) {
    backend->top_candidates(backend->allocate(2, vocab, MatrixKind::kExact),
                            backend->allocate(2, cols, MatrixKind::kExact));
  };
  EXPECT_ERROR(kInvalid, "top_candidates", run(300, candidate_cols(0)));
  EXPECT_ERROR(kInvalid, "top_candidates", run(300, candidate_cols(4) + 1));
  EXPECT_ERROR(kInvalid, "top_candidates", run(300, candidate_cols(kMostCandidates + 1)));
  EXPECT_ERROR(kInvalid, "top_candidates", run(5, candidate_cols(6)));
  EXPECT_ERROR(kInvalid, "read_candidates",
               backend->read_candidates(backend->allocate(2, 3, MatrixKind::kExact)));
}

std::vector<std::string> all_backends() {
  std::vector<std::string> names = levels_here();
  names.emplace_back("reference");
  return names;
}
INSTANTIATE_TEST_SUITE_P(Levels, TopCandidatesTest, testing::ValuesIn(all_backends()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace hopskip::test
