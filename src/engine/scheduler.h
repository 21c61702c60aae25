// Which tokens of which sequences the next step processes. Pure: it knows token ids and page
// numbers, no tensors and no clock.
#ifndef HOPSKIP_ENGINE_SCHEDULER_H_
#define HOPSKIP_ENGINE_SCHEDULER_H_

#include <cstdint>
#include <limits>
#include <list>
#include <span>
#include <vector>

#include "hopskip/types.h"
#include "kvcache/block_table.h"
#include "kvcache/page_pool.h"

namespace hopskip {

struct SchedulerOptions {
  int64_t chunk_tokens = 2048;  // tokens of a step at most; at least max_sequences
  int max_sequences = 64;       // that hold pages at a time
};

// A sequence as the scheduler sees it.
struct Sequence {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  RequestId id = 0;              // rises with arrival
  std::vector<int32_t> tokens;   // all that are known: prompt, then output
  int64_t decode_from = kNever;  // tokens from here on are fed one by one
  bool share = true;             // finds and leaves behind K and V of prefixes …
  uint64_t salt = 0;             // … with sequences of the same salt

  BlockTable pages;
  int64_t computed = 0;     // tokens whose K and V the pages hold
  int64_t prefill_end = 0;  // tokens up to here run as prefill; of a running sequence
  int64_t reused = 0;       // tokens found in the pool when it was first started
  int64_t preemptions = 0;
};

// Tokens [begin, begin + count) of a sequence in one step.
struct Chunk {
  Sequence* sequence = nullptr;
  int64_t begin = 0;
  int64_t count = 0;
  Phase phase = Phase::kPrefill;

  int64_t end() const { return begin + count; }
  // The step leaves no known token unprocessed: its last row predicts a new one.
  bool is_last() const { return end() == std::ssize(sequence->tokens); }
};

// First come, first served. A sequence starts when its pages fit beside those that run; then it
// keeps running: one token a step once its prompt is done, chunks of the prompt with what those
// leave of the step's budget. When pages run out the youngest running sequence is preempted: it
// gives its pages back and starts again, known output included, before all that arrived after it.
// The oldest sequence is never preempted by another, so each one finishes.
class Scheduler {
 public:
  // The pool must outlive the scheduler.
  Scheduler(PagePool& pool, const SchedulerOptions& options) : pool_(pool), options_(options) {}

  // The reference holds until remove(). The pool must be able to hold the tokens there will ever
  // be: a sequence that grows beyond it waits for ever.
  Sequence& add(RequestId id, std::vector<int32_t> tokens);
  void remove(const Sequence& sequence);

  // The next step's chunks, one a sequence, in order of arrival. Empty only when there is no
  // sequence. Every chunk must be completed, or its sequence removed, before the next call.
  std::span<const Chunk> schedule();
  // The chunk has been processed; its K and V may be shared from now on.
  void complete(const Chunk& chunk);

  int64_t num_running() const { return std::ssize(running_); }
  int64_t num_waiting() const { return std::ssize(waiting_); }

 private:
  using Queue = std::list<Sequence>;  // in order of arrival

  bool reserve_or_preempt(Queue::iterator sequence);
  void preempt(Queue::iterator sequence);
  bool try_start(Sequence& sequence);

  PagePool& pool_;
  SchedulerOptions options_;
  Queue running_;  // hold pages
  Queue waiting_;
  std::vector<Chunk> chunks_;
};

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_SCHEDULER_H_
