// Runs of the engine on a model of random weights (weights/synthetic.h), with clocks around them.
#ifndef HOPSKIP_APPS_SHAPE_RUNS_H_
#define HOPSKIP_APPS_SHAPE_RUNS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "hopskip/llm.h"
#include "progress.h"
#include "weights/synthetic.h"

namespace hopskip::apps {

struct ShapeRunsOptions {
  std::string shape;
  int64_t layers = 0;   // 0: all
  int64_t context = 0;  // longest prompt + output
  int64_t batch = 1;    // sequences that run at a time, at most
  int repeats = 3;
  uint64_t seed = 1;
  bool parts = true;  // also time the parts of a step, in runs of their own
  // K and V of a prompt that comes again are found, not computed: decode() wants it so, and prefill
  // is then not measured.
  bool prefix_reuse = false;
  bool progress = false;  // shown
  LLMOptions machine;     // device, threads, chunk, dtype
};

// What a run came to. Seconds: of a prompt (time to its last row's logits), of a decode step, or of
// all requests.
struct ShapeRun {
  int64_t context = 0;
  int64_t batch = 1;                        // sequences; of throughput, requests
  double share = 0.0;                       // wanted
  PerPhase<std::optional<double>> skipped;  // measured, of phases that were
  std::vector<double> seconds;              // samples; none: it does not fit, see `why_not`
  double tokens = 0.0;                      // that this time gives: prompt, output, or both
  std::optional<PartSeconds> parts;         // on the device, of another run of the same
  std::string why_not;
};

class ShapeRuns {
 public:
  // Opens the device. Before anything is measured comes …
  explicit ShapeRuns(const ShapeRunsOptions& options);
  // … this, which makes the weights there. Throws OutOfMemory where there is no room for them.
  void load();

  ShapeRun prefill(int64_t context, double share);
  // Of the same prompts, `new_tokens` timed decode steps at each of the batches, largest first:
  // what is too many is cancelled on the way down, so that prompts are computed once.
  std::vector<ShapeRun> decode(int64_t context, double share, std::vector<int64_t> batches,
                               int64_t new_tokens);
  ShapeRun throughput(int64_t context, double share, int64_t requests, int64_t new_tokens);

  // The most tokens that a sequence of decode() may have behind its prompt.
  static int64_t decode_room(const std::vector<int64_t>& batches, int64_t new_tokens,
                             int64_t chunk_tokens);

  const ModelConfig& config() const { return config_; }
  std::string device() const { return backend_->description(); }
  int64_t kv_tokens() const;
  std::string_view kv_dtype() const { return dtype_name(engine_options_.kv_dtype); }
  int64_t chunk_tokens() const { return engine_options_.chunk_tokens; }
  std::optional<MemoryUse> memory() const { return backend_->memory_use(); }

 private:
  Request request(int64_t context, double share, uint64_t seed, int64_t new_tokens) const;
  // Throws what a request failed with.
  std::span<const Event> step();
  // Steps until nothing is left to do. The statistics of the requests that have finished.
  std::vector<SequenceStats> run();
  // Why so many sequences of `tokens` each do not fit the KV cache; empty where they do.
  std::string why_not(int64_t sequences, int64_t context, int64_t tokens) const;
  void warm_up(int64_t context, double share);
  std::vector<RequestId> begin(int64_t context, double share, int64_t batch, int64_t new_tokens);
  // A bar for what follows, of about so many tokens.
  void show_progress(std::string_view what, int64_t tokens);
  int64_t tokens_done() const;

  ShapeRunsOptions options_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  EngineOptions engine_options_;
  Checkpoint checkpoint_;
  std::unique_ptr<Engine> engine_;
  std::optional<Progress> bar_;
  int64_t bar_begin_ = 0;
  int64_t bar_tokens_ = 0;
};

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_SHAPE_RUNS_H_
