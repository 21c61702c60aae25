// One request on its way: from the engine's events to text, stop strings and the result.
#ifndef HOPSKIP_LLM_GENERATION_H_
#define HOPSKIP_LLM_GENERATION_H_

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "engine/sequence.h"
#include "hopskip/llm.h"
#include "llm/sparse.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"
#include "text/utf8_stream.h"

namespace hopskip {

// Shared by the caller, who waits and cancels, and the inference thread, which does the rest.
struct Generation::State {
  State(std::vector<std::string> stops, GenerateEvents handlers)
      : stop(std::move(stops)), events(std::move(handlers)), result(promise.get_future()) {}

  // Inference thread: takes in a new token. True when a stop string ended the text.
  bool push(const SampledToken& token, const Tokenizer& tokenizer);
  // Inference thread: the last event has come; sets the result.
  void finish(const Event& last);
  // Inference thread: remembers what a handler threw; the request is then cancelled.
  template <typename F>
  void guarded(F&& call) {
    try {
      call();
    } catch (...) {
      error = std::current_exception();
      cancelled = true;
    }
  }

  Request request;  // moved to the engine when it takes the request
  SparseSettings sparse;
  Utf8Stream utf8;
  StopMatcher stop;
  GenerateEvents events;
  Output output;
  RequestId id = 0;
  std::exception_ptr error;

  std::atomic<bool> cancelled = false;
  std::function<void()> wake;  // makes the inference thread look at `cancelled`
  std::promise<Output> promise;
  std::future<Output> result;
};

}  // namespace hopskip

#endif  // HOPSKIP_LLM_GENERATION_H_
