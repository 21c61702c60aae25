#include "llm/generation.h"

#include <chrono>

#include "base/check.h"

namespace hopskip {
namespace {

// Seconds between two moments of a request; 0 where one of them has not happened.
double span_s(double begin, double end) { return begin < 0.0 || end < begin ? 0.0 : end - begin; }

double ratio(double numerator, double denominator) {
  return denominator > 0.0 ? numerator / denominator : 0.0;
}

}  // namespace

double GenerationStats::ttft_s() const { return span_s(0.0, first_token_s); }

double GenerationStats::prefill_tokens_per_s() const {
  return ratio(static_cast<double>(prompt_tokens - reused_tokens),
               span_s(started_s, first_token_s));
}

double GenerationStats::tpot_s() const {
  return generated_tokens < 2
             ? 0.0
             : ratio(span_s(first_token_s, finished_s), static_cast<double>(generated_tokens - 1));
}

bool Generation::State::push(const SampledToken& token, const Tokenizer& tokenizer) {
  output.tokens.push_back(token.id);
  // Embeddings are often padded beyond the tokenizer's vocabulary: such an id has no text.
  const std::string bytes = token.id < tokenizer.vocab_size()
                                ? tokenizer.decode(std::span(&token.id, 1), /*skip_special=*/true)
                                : "";
  const std::string text = stop.push(utf8.push(bytes));
  output.text += text;
  if (events.on_text) {
    guarded([&] { events.on_text(text, &token); });
  }
  return stop.stopped();
}

void Generation::State::finish(const Event& last) {
  if (!stop.stopped()) {
    std::string rest = stop.push(utf8.flush());
    rest += stop.flush();
    output.text += rest;
    if (!rest.empty() && events.on_text) {
      guarded([&] { events.on_text(rest, nullptr); });
    }
  }
  if (last.finish == FinishReason::kError && !error) {
    error = std::make_exception_ptr(Error(last.error_code, last.error));
  }
  if (error) {
    promise.set_exception(error);
    return;
  }
  output.finish_reason = stop.stopped() ? FinishReason::kStop : *last.finish;
  static_cast<SequenceStats&>(output.stats) = *last.stats;
  output.stats.notices = sparse_notices(sparse, output.stats);
  promise.set_value(std::move(output));
}

Generation::Generation(std::shared_ptr<State> state) : state_(std::move(state)) {}
Generation::~Generation() = default;

void Generation::cancel() {
  state_->cancelled = true;
  state_->wake();
}

bool Generation::wait_for(double seconds) const {
  return state_->result.wait_for(std::chrono::duration<double>(seconds)) ==
         std::future_status::ready;
}

Output Generation::wait() { return state_->result.get(); }

}  // namespace hopskip
