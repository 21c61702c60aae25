#include "kernels/cpu/top_candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/contract.h"
#include "kernels/cpu/simd/elementwise_kernels.h"

namespace hopskip {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// The `count` best groups of logits hold the `count` best logits: each better group has a better
// logit. A group stands in for its largest, and of equal groups the first has the lower ids.
void find_candidates(const ElementwiseKernels& kernels, const float* x, int64_t vocab,
                     std::span<Candidate> out, float& sum_exp) {
  const auto by_order = [](const Candidate& a, const Candidate& b) { return before(a, b); };
  const auto count = std::ssize(out);
  const int64_t num_groups = (vocab - 1) / kLogitGroup + 1;
  std::vector<float> largest(num_groups);
  kernels.group_max(x, vocab, largest.data());
  std::vector<Candidate> groups(num_groups);
  for (int64_t i = 0; i < num_groups; ++i) {
    groups[i] = {static_cast<int32_t>(i), largest[i]};
  }
  if (count < num_groups) {
    std::ranges::nth_element(groups, groups.begin() + count - 1, by_order);
    groups.resize(count);
  }
  const float bound = num_groups > count ? groups.back().logit : kMinusInfinity;
  std::vector<Candidate> found;
  for (const Candidate& group : groups) {
    const int64_t first = group.id * kLogitGroup;
    for (int64_t i = first; i < std::min(vocab, first + kLogitGroup); ++i) {
      const float logit = std::isnan(x[i]) ? kMinusInfinity : x[i];
      if (logit >= bound) {
        found.push_back({static_cast<int32_t>(i), logit});
      }
    }
  }
  std::ranges::partial_sort(found, found.begin() + count, by_order);
  std::copy_n(found.begin(), count, out.begin());
  const float top = out.front().logit;
  sum_exp =
      std::isfinite(top) ? kernels.sum_exp(x, vocab, top) : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

void cpu_top_candidates(ThreadPool& pool, SimdLevel level, Matrix logits, Matrix out) {
  const int64_t count = check_top_candidates(logits, out);
  pool.parallel_for(logits.rows, [&](int64_t row, int) {
    auto* to = reinterpret_cast<Candidate*>(out.row(row));
    *to = {static_cast<int32_t>(count), 0.0f};
    find_candidates(elementwise_kernels(level), logits.row(row), logits.cols,
                    {to + 1, static_cast<size_t>(count)}, to->logit);
  });
}

}  // namespace hopskip
