#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hopskip {
namespace {

bool decodes(const Sequence& sequence) { return sequence.computed >= sequence.prefill_end; }

}  // namespace

Sequence& Scheduler::add(RequestId id, std::vector<int32_t> tokens) {
  return waiting_.emplace_back(
      Sequence{.id = id, .tokens = std::move(tokens), .pages = BlockTable(pool_)});
}

void Scheduler::remove(const Sequence& sequence) {
  for (Queue* queue : {&running_, &waiting_}) {
    queue->remove_if([&](const Sequence& other) { return &other == &sequence; });
  }
}

std::span<const Chunk> Scheduler::schedule() {
  chunks_.clear();
  // Every decoding sequence gets its token; prompts share the rest.
  int64_t prefill_budget = options_.chunk_tokens - std::ranges::count_if(running_, decodes);
  const auto take = [&](Sequence& sequence) {
    const bool decode = decodes(sequence);
    const int64_t count =
        decode ? 1 : std::min(sequence.prefill_end - sequence.computed, prefill_budget);
    prefill_budget -= decode ? 0 : count;
    if (count > 0) {
      chunks_.push_back(
          {&sequence, sequence.computed, count, decode ? Phase::kDecode : Phase::kPrefill});
    }
  };

  for (auto sequence = running_.begin(); sequence != running_.end(); ++sequence) {
    if (!reserve_or_preempt(sequence)) {
      break;  // it was the youngest and had to go itself
    }
    take(*sequence);
  }
  while (!waiting_.empty() && num_running() < options_.max_sequences && prefill_budget > 0 &&
         try_start(waiting_.front())) {
    running_.splice(running_.end(), waiting_, waiting_.begin());
    if (decodes(running_.back())) {
      --prefill_budget;
    }
    take(running_.back());
  }
  return chunks_;
}

// Room for every known token; on false the sequence itself has been preempted.
bool Scheduler::reserve_or_preempt(Queue::iterator sequence) {
  while (!sequence->pages.reserve(std::ssize(sequence->tokens))) {
    const auto youngest = std::prev(running_.end());
    const bool itself = youngest == sequence;
    preempt(youngest);
    if (itself) {
      return false;
    }
  }
  return true;
}

void Scheduler::preempt(Queue::iterator sequence) {
  sequence->pages.clear();
  sequence->computed = 0;
  ++sequence->preemptions;
  // Everything that waits arrived later: sequences start in order of arrival.
  waiting_.splice(waiting_.begin(), running_, sequence);
}

bool Scheduler::try_start(Sequence& sequence) {
  const int64_t length = std::ssize(sequence.tokens);
  // The last token is always computed: its row predicts the next one.
  const int64_t reused =
      sequence.share
          ? sequence.pages.reuse_prefix(std::span(sequence.tokens).first(length - 1), sequence.salt)
          : 0;
  // A page of headroom for each running sequence, or the newcomer would soon be preempted again.
  const int64_t missing =
      (length + pool_.page_size() - 1) / pool_.page_size() - std::ssize(sequence.pages.pages());
  if (missing + num_running() > pool_.available() || !sequence.pages.reserve(length)) {
    sequence.pages.clear();
    return false;
  }
  sequence.computed = reused;
  sequence.prefill_end = std::min(length, sequence.decode_from);
  if (sequence.preemptions == 0) {
    sequence.reused = reused;
  }
  return true;
}

void Scheduler::complete(const Chunk& chunk) {
  Sequence& sequence = *chunk.sequence;
  sequence.computed = chunk.end();
  sequence.pages.publish(std::span(sequence.tokens).first(sequence.computed));
}

}  // namespace hopskip
