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

  std::span<const float> read(Matrix x) override {
    const std::span<const float> logits = ForwardingBackend::read(x);
    if (!ended_ || x.rows != std::ssize(rows_)) {
      return logits;
    }
    forced_.assign(logits.begin(), logits.end());
    for (int64_t i = 0; i < x.rows; ++i) {
      const std::span<float> row = std::span(forced_).subspan(i * x.cols, x.cols);
      rows_[i].logits.assign(row.begin(), row.end());
      const int32_t next = next_(rows_[i].token, rows_[i].position);
      // What is not finite stays as it is: the engine has to report it.
      if (next >= 0 && std::ranges::all_of(row, [](float v) { return std::isfinite(v); })) {
        row[next] = std::ranges::max(row) + 1.0f;
      }
    }
    return forced_;
  }

 private:
  Next next_;
  bool ended_ = false;
  std::vector<LogitRow> rows_;
  std::vector<float> forced_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_TEACHER_FORCING_H_
