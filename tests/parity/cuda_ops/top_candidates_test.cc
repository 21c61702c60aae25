// The largest logits of rows and their sums of exponentials against the obvious.
#include <limits>

#include "kernels/cuda/smxx/top_candidates/launch.h"
#include "parity/cuda_ops/ops_support.h"

namespace hopskip::cuda {
namespace {

using test::DeviceArray;
using test::DeviceRows;
using test::Layout;
using test::normal_rows;
using test::Rows;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class CudaOpsTopCandidates : public test::OpsTest {
 protected:
  // Of `logits`, the rows that `count` candidates of the device differ from the obvious in; runs
  // twice in memory that held other things, and wants the same bits.
  void check_rows(const Rows<float>& logits, int32_t count) {
    const Layout& layout = logits.layout;
    const auto vocab = static_cast<int32_t>(layout.cols);
    SCOPED_TRACE(fmt::format("{} of {} x {}, gap {}, shift {}", count, layout.rows, vocab,
                             layout.gap, layout.shift));
    const DeviceRows<float> device_logits(logits);
    const size_t cols = candidate_cols(count);
    constexpr size_t kBehind = 64;
    std::vector<float> found;
    for (int run = 0; run < 2; ++run) {
      const DeviceArray<float> out(layout.rows * cols + kBehind);
      const size_t scratch_bytes = top_candidates_scratch_bytes(layout.rows, vocab);
      const DeviceArray<uint8_t> scratch(
          std::vector<uint8_t>(scratch_bytes + kBehind, static_cast<uint8_t>(0x5a + run)));
      launch_top_candidates({.logits = device_logits.data(),
                             .out = out.data(),
                             .scratch = scratch.data(),
                             .rows = layout.rows,
                             .stride = layout.stride(),
                             .vocab = vocab,
                             .count = count},
                            nullptr);
      const std::vector<float> values = out.download();
      const std::vector<uint8_t> scratch_after = scratch.download();
      for (size_t i = 0; i < kBehind; ++i) {
        ASSERT_EQ(scratch_after[scratch_bytes + i], 0x5a + run) << "behind the scratch memory";
        ASSERT_TRUE(std::isnan(values[layout.rows * cols + i])) << "behind the candidates";
      }
      if (run == 1) {
        ASSERT_EQ(std::memcmp(values.data(), found.data(), found.size() * sizeof(float)), 0)
            << "two runs differ";
      }
      found = values;
    }
    const CandidateRows rows(reinterpret_cast<const Candidate*>(found.data()), layout.rows, count);
    for (int64_t row = 0; row < layout.rows; ++row) {
      ASSERT_EQ(check_row(logits, row, rows[row]), "") << "row " << row;
    }
  }

  static std::string check_row(const Rows<float>& logits, int64_t row, const RowCandidates& got) {
    std::vector<Candidate> want(logits.layout.cols);
    double largest = -INFINITY;
    for (int64_t i = 0; i < logits.layout.cols; ++i) {
      const auto x = static_cast<float>(logits.get(row, i));
      want[i] = {static_cast<int32_t>(i), std::isnan(x) ? -kInfinity : x};
      largest = std::max(largest, double{want[i].logit});
    }
    double sum = 0.0;
    for (int64_t i = 0; i < logits.layout.cols; ++i) {
      sum += std::exp(logits.get(row, i) - largest);
    }
    std::partial_sort(want.begin(), want.begin() + std::ssize(got.top), want.end(), before);
    for (size_t i = 0; i < got.top.size(); ++i) {
      if (got.top[i].id != want[i].id || got.top[i].logit != want[i].logit) {
        return fmt::format("place {} is {} of {} instead of {} of {}", i, got.top[i].logit,
                           got.top[i].id, want[i].logit, want[i].id);
      }
    }
    const bool close = std::isnan(sum) ? std::isnan(got.sum_exp)
                                       : std::abs(got.sum_exp - sum) <= 0.5 * kSumExpError * sum;
    return close ? "" : fmt::format("the sum is {} instead of {}", got.sum_exp, sum);
  }
};

TEST_F(CudaOpsTopCandidates, AreTheLargestInOrder) {
  for (const int64_t vocab :
       {1, 7, 32, 33, 127, 128, 129, 1000, 1004, 8191, 8193, 49152, 151936, 151937, 262144}) {
    for (const auto& [gap, shift] : {std::pair{0, 0}, std::pair{4, 0}, std::pair{1, 1}}) {
      Rows<float> logits = normal_rows<float>({14, vocab, gap, shift}, random_, 3.0f);
      const auto any = [&] { return integer(0, vocab - 1); };
      for (int64_t id = 0; id < vocab; ++id) {
        logits.at(1, id) = 1.0f;
        logits.at(2, id) = std::round(logits.at(2, id));     // ties, also of −0 and 0
        logits.at(3, id) = static_cast<float>(id) * 0.001f;  // all of the best in the last groups
        logits.at(4, id) = static_cast<float>(-id);
        logits.at(5, id) *= 1e30f;
        logits.at(6, id) = id == vocab / 2 ? -1e30f : -kInfinity;
        logits.at(7, id) = -kInfinity;
        logits.at(8, id) = kInfinity;
        logits.at(9, id) = kNan;
        logits.at(10, id) = id % 1000 == 0 ? logits.at(10, id) : -kInfinity;
        logits.at(11, id) *= 1e-42f;  // denormal
      }
      logits.at(12, any()) = kNan;
      logits.at(13, any()) = kInfinity;
      for (const int64_t count : {int64_t{1}, int64_t{20}, kMostCandidates}) {
        if (count <= vocab) {
          check_rows(logits, static_cast<int32_t>(count));
        }
      }
    }
  }
}

TEST_F(CudaOpsTopCandidates, OfOneRowAndOfMany) {
  for (const int64_t rows : {0, 1, 2, 15, 64, 200}) {
    check_rows(normal_rows<float>({rows, 151936, 0, 0}, random_, 3.0f), kMostCandidates);
  }
  // Beyond what the registers of the usual kernel hold, and the largest there is.
  check_rows(normal_rows<float>({3, 262208, 0, 0}, random_, 3.0f), kMostCandidates);
  check_rows(normal_rows<float>({2, kMostCandidateVocab, 0, 0}, random_, 3.0f), kMostCandidates);
}

}  // namespace
}  // namespace hopskip::cuda
