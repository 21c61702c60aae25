// The most likely tokens of a row of logits: what a sampler usually needs of it.
#ifndef HOPSKIP_KERNELS_CANDIDATES_H_
#define HOPSKIP_KERNELS_CANDIDATES_H_

#include <cstdint>
#include <span>

namespace hopskip {

struct Candidate {
  int32_t id = 0;
  float logit = 0.0f;
};

// The order of candidates: the largest logit first, of equal ones the lower id.
inline bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

struct RowCandidates {
  std::span<const Candidate> top;  // in order; no other entry of the row comes before the last
  // Σ exp(logit − top[0].logit) over the whole row, at most kSumExpError of itself off: the row's
  // log-sum-exp is top[0].logit + log(sum_exp). NaN where the row holds a NaN, or its largest
  // logit is infinite.
  float sum_exp = 0.0f;
};
// Of sums in F32 with exponentials of two units in the last place: errors of the exponents weigh
// with the share of their terms, and add up to 3e-6 at worst for a million equal logits.
inline constexpr double kSumExpError = 1e-5;

inline constexpr int64_t kMostCandidates = 128;  // of a row

// How backends store them, one row behind the other: {count, sum_exp}, then `count` candidates. As
// a Matrix: two columns each.
inline constexpr int64_t candidate_cols(int64_t count) { return 2 * (count + 1); }
inline constexpr int64_t candidate_count(int64_t cols) { return cols / 2 - 1; }

// Rows in host memory.
class CandidateRows {
 public:
  CandidateRows() = default;
  CandidateRows(const Candidate* data, int64_t rows, int64_t count)
      : data_(data), rows_(rows), count_(count) {}

  int64_t rows() const { return rows_; }
  RowCandidates operator[](int64_t row) const {
    const Candidate* first = data_ + row * (count_ + 1);
    return {{first + 1, static_cast<size_t>(count_)}, first->logit};
  }

 private:
  const Candidate* data_ = nullptr;
  int64_t rows_ = 0;
  int64_t count_ = 0;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CANDIDATES_H_
