// The engine: token ids in, token ids out; continuous batching over one model and one KV cache.
#ifndef HOPSKIP_ENGINE_ENGINE_H_
#define HOPSKIP_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/sequence.h"
#include "kernels/backend.h"
#include "weights/checkpoint.h"

namespace hopskip {

struct EngineOptions {
  // Longest prompt + output of a request; 0: what the checkpoint claims. A larger value than that
  // is refused.
  int64_t context = 0;
  // Tokens the KV cache holds over all requests; 0: one full context (where `context` is 0, too, as
  // much of it as the host has memory for), or on a GPU as many contexts as fit its memory, up to
  // max_sequences. Below `context` it bounds the context.
  int64_t kv_tokens = 0;
  DType kv_dtype = DType::kBF16;  // kBF16, kF16 or kF8E4M3, as the backend can
  // Tokens a step processes at most; a longer prompt is prefilled in chunks.
  int64_t chunk_tokens = 2048;
  int max_sequences = 64;    // that run at a time; further ones queue
  bool prefix_reuse = true;  // share K and V of common prompt prefixes between requests
  // Called while the weights are loaded: bytes of the checkpoint's tensors done, of how many.
  std::function<void(int64_t done, int64_t total)> on_load = {};
};

// Steps that were timed, and what their parts took together.
struct TimedSteps {
  int64_t steps = 0;
  PartSeconds seconds;
};

struct EngineStats {
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t kv_pages = 0;
  int64_t kv_pages_in_use = 0;  // held by requests; what is kept for reuse counts as free
  int64_t steps = 0;
  int64_t prompt_tokens = 0;  // processed
  int64_t reused_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t preemptions = 0;
  PerPhase<SkipCounts> skip;
  // While time_parts() was on. A step that processes some of a prompt is one of prefill.
  PerPhase<TimedSteps> timed;
};

// Not thread-safe: one thread owns the engine; add() and cancel() go between its steps.
class Engine {
 public:
  // The checkpoint and the backend must outlive the engine. Throws Unsupported for a model, dtype
  // or shape that cannot run, Corrupt for missing or misshapen tensors, InvalidArgument for
  // options, OutOfMemory, before anything is loaded, for what the device or the host has no room.
  Engine(const Checkpoint& checkpoint, Backend& backend, const EngineOptions& options = {});
  ~Engine();

  // Queues a request. Throws InvalidArgument, with the numbers and a way out, for an empty prompt,
  // ids outside the vocabulary, parameters out of range, or a prompt that leaves no room in the
  // context.
  RequestId add(Request request);
  // The request's next and last event, of the next step(), is kCancelled. False when it has
  // finished already or never was.
  bool cancel(RequestId id);
  // Nothing to do: step() would return nothing.
  bool idle() const;
  // One step over the batch: at most one token for each request, in order of arrival. Valid until
  // the next call. A backend error ends the requests of that step with kError and its
  // code, logits that are not finite, with kCorrupt, the request that they belong to.
  std::span<const Event> step();

  // From the next step on, whether EngineStats::timed is measured. It makes steps slower.
  void time_parts(bool on);

  EngineStats stats() const;
  // Of a request that has not finished; nullptr otherwise. Valid until the next call.
  const SequenceStats* stats(RequestId id) const;

  const ModelConfig& config() const;
  int64_t context() const;  // longest prompt + output
  // Of a prompt that leaves no room in context(): what bounds it, and the way out.
  std::string too_long(int64_t prompt_tokens) const;
  // To be told once: where memory ends before the context, "KV cache of 4096 tokens: there is
  // memory for no more of the context of 131072". Empty: it does not.
  const std::string& notice() const;
  // How attention runs: the tile plan of each phase is what factors are calibrated for.
  PerPhase<TilePlan> tile_plans() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_ENGINE_H_
