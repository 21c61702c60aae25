// Real decode steps along tokens that are given: what generates is the engine's own path, graphs
// and batches included, but near ties cannot lead two runs apart, and every logit can be seen.
#ifndef HOPSKIP_TESTS_SUPPORT_TEACHER_FORCING_H_
#define HOPSKIP_TESTS_SUPPORT_TEACHER_FORCING_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "support/forwarding_backend.h"

namespace hopskip::test {

// The logits after one token of a sequence, as the backend gave them.
struct LogitRow {
  int32_t token = 0;
  int32_t position = 0;
  int32_t first_page = 0;     // of the sequence; tells sequences apart that share no prefix
  std::vector<float> logits;  // [vocab]
};

// Keeps the logits that the engine samples from, and raises the token that is to come above all
// others before the engine sees them: greedy sampling takes it. Not for requests with prompt
// logits, whose rows are read another way.
class TeacherForcing : public ForwardingBackend {
 public:
  // The token that follows `token` at `position`; a negative one leaves the choice to the engine.
  using Next = std::function<int32_t(int32_t token, int64_t position)>;

  TeacherForcing(std::unique_ptr<Backend> inner, Next next)
      : ForwardingBackend(std::move(inner)), next_(std::move(next)) {}

  // The rows of the last step, in the order of the engine's events that hold a token.
  std::vector<LogitRow> take_rows() { return std::exchange(rows_, {}); }
  void set_next(Next next) { next_ = std::move(next); }

  std::unique_ptr<Step> begin_step(const StepInputs& inputs) override {
    rows_.clear();
    ended_ = false;
    for (int64_t row : inputs.rows) {
      const auto sequence = std::ranges::find_if(inputs.sequences, [&](const auto& s) {
        return row >= s.q_begin && row < s.q_begin + s.q_len;
      });
      rows_.push_back({inputs.tokens[row],
                       inputs.positions[row],
                       sequence == inputs.sequences.end() ? -1 : sequence->pages.front(),
                       {}});
    }
    return ForwardingBackend::begin_step(inputs);
  }
  void end_step(Step& step) override {
    ForwardingBackend::end_step(step);
    ended_ = true;
  }
  // Whole, for a GPU has kernels of its own for them.
  void rotate_and_append(Step& step, int layer, Matrix q, Matrix k, Matrix v, int head_dim,
                         const HeadNorms& norms, const Rope& rope) override {
    inner().rotate_and_append(step, layer, q, k, v, head_dim, norms, rope);
  }
  void norm_linear(const NormedInput& in, std::span<const LinearTerm> terms) override {
    inner().norm_linear(in, terms);
  }
  void norm_gated_linear(const NormedInput& in, const LinearTerm& gate,
                         const LinearTerm& up) override {
    inner().norm_gated_linear(in, gate, up);
  }
  void norm_moe(const NormedInput& in, const Weight& router, Matrix logits, const ExpertWeights& w,
                const MoeRouting& routing) override {
    inner().norm_moe(in, router, logits, w, routing);
  }

  void top_candidates(Matrix logits, Matrix out) override {
    ForwardingBackend::top_candidates(logits, out);
    logits_ = logits;
  }
  CandidateRows read_candidates(Matrix candidates) override {
    const CandidateRows rows = ForwardingBackend::read_candidates(candidates);
    if (!ended_ || rows.rows() != std::ssize(rows_)) {
      return rows;
    }
    logits_.rows = rows.rows();
    const std::span<const float> logits = ForwardingBackend::read(logits_);
    forced_.clear();
    for (int64_t i = 0; i < rows.rows(); ++i) {
      const RowCandidates row = rows[i];
      const std::span<const float> values = logits.subspan(i * logits_.cols, logits_.cols);
      rows_[i].logits.assign(values.begin(), values.end());
      forced_.push_back({0, row.sum_exp});
      forced_.insert(forced_.end(), row.top.begin(), row.top.end());
      const int32_t next = next_(rows_[i].token, rows_[i].position);
      // What is not finite stays as it is: the engine has to report it.
      if (next >= 0 && std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
        forced_[forced_.size() - row.top.size()] = {next, row.top[0].logit + 1.0f};
      }
    }
    return {forced_.data(), rows.rows(), candidate_count(candidates.cols)};
  }

 private:
  Next next_;
  bool ended_ = false;
  std::vector<LogitRow> rows_;
  Matrix logits_;                  // of the step
  std::vector<Candidate> forced_;  // as a backend stores them
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_TEACHER_FORCING_H_
