#include "shape_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "base/check.h"
#include "llm/engine_options.h"

namespace hopskip::apps {
namespace {

using Clock = std::chrono::steady_clock;

// Decode steps of a batch before those that count: a GPU launches the first, captures the second
// and replays the others.
constexpr int64_t kSettling = 4;
// Steps with timed parts, of which the first, for the same reason, do not count.
constexpr int64_t kTimed = 8;
constexpr int64_t kTimedSettling = 3;
constexpr int64_t kStepsBesides = kSettling + kTimedSettling + kTimed;

// Of throughput, before the requests that count: prompt tokens at most, and decode steps.
constexpr int64_t kWarmUpTokens = 32768;
constexpr int64_t kWarmUpSteps = 16;

constexpr int64_t kPage = KvConfig{}.page_size;

// Of a sequence, with the one that the scheduler wants free for it beside others.
int64_t pages_of(int64_t tokens) { return (tokens + kPage - 1) / kPage + 1; }

int64_t longest(const ShapeRunsOptions& options) { return pages_of(options.context) * kPage; }

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

PartSeconds per_step(const TimedSteps& before, const TimedSteps& after) {
  const auto steps = static_cast<double>(std::max<int64_t>(1, after.steps - before.steps));
  PartSeconds seconds;
  for (Part part : kParts) {
    seconds[part] = (after.seconds[part] - before.seconds[part]) / steps;
  }
  return seconds;
}

double sparsity(const EngineStats& before, const EngineStats& after, Phase phase) {
  return SkipCounts{after.skip[phase].tiles - before.skip[phase].tiles,
                    after.skip[phase].skipped - before.skip[phase].skipped}
      .sparsity();
}

}  // namespace

ShapeRuns::ShapeRuns(const ShapeRunsOptions& options)
    : options_(options),
      config_(synthetic_config(options.shape, options.layers, longest(options))),
      backend_(open_backend(options.machine)),
      engine_options_(engine_options(options.machine, *backend_)),
      checkpoint_(synthetic_checkpoint(config_, options.seed)) {
  engine_options_.context = longest(options);
  engine_options_.max_sequences = static_cast<int>(options.batch);
  engine_options_.prefix_reuse = options.prefix_reuse;
  if (engine_options_.kv_tokens == 0 && !backend_->memory_use()) {
    engine_options_.kv_tokens = longest(options) * options.batch;  // on the host
  }
}

void ShapeRuns::load() {
  try {
    engine_ = std::make_unique<Engine>(checkpoint_, *backend_, engine_options_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory || config_.num_layers == 1) {
      throw;
    }
    fail(error.code(), "{}, or fewer --layers", error.what());
  }
}

int64_t ShapeRuns::kv_tokens() const { return engine_->stats().kv_pages * kPage; }

int64_t ShapeRuns::decode_room(const std::vector<int64_t>& batches, int64_t new_tokens,
                               int64_t chunk_tokens) {
  // Sequences that begin first decode while the others' last pages are computed.
  const int64_t most = *std::ranges::max_element(batches);
  const int64_t beginning = most * kPage / std::max<int64_t>(1, chunk_tokens - most) + 4;
  return beginning + std::ssize(batches) * (new_tokens + kStepsBesides);
}

Request ShapeRuns::request(int64_t context, double share, uint64_t seed, int64_t new_tokens) const {
  Request request;
  request.prompt = synthetic_prompt(config_, context, share, seed);
  request.max_new_tokens = new_tokens;
  request.sampling.temperature = 0.0;
  const double factor = share > 0.0 ? synthetic_skip_factor(context) : 0.0;
  request.threshold_scale_factor = {factor, factor};
  return request;
}

std::span<const Event> ShapeRuns::step() {
  const std::span<const Event> events = engine_->step();
  for (const Event& event : events) {
    check(event.finish != FinishReason::kError, event.error_code, "{}", event.error);
  }
  if (bar_) {
    bar_->update(tokens_done() - bar_begin_, bar_tokens_);
  }
  return events;
}

int64_t ShapeRuns::tokens_done() const {
  const EngineStats stats = engine_->stats();
  return stats.prompt_tokens + stats.generated_tokens;
}

void ShapeRuns::show_progress(std::string_view what, int64_t tokens) {
  bar_.reset();
  bar_.emplace(options_.progress, std::string(what), "tokens");
  bar_begin_ = tokens_done();
  bar_tokens_ = tokens;
}

std::vector<SequenceStats> ShapeRuns::run() {
  std::vector<SequenceStats> finished;
  while (!engine_->idle()) {
    for (const Event& event : step()) {
      if (event.finish) {
        finished.push_back(*event.stats);
      }
    }
  }
  return finished;
}

std::string ShapeRuns::why_not(int64_t sequences, int64_t context, int64_t tokens) const {
  const int64_t own_pages = sequences == 1 ? pages_of(tokens) - 1 : sequences * pages_of(tokens);
  const int64_t needed = own_pages * kPage;
  return needed <= kv_tokens()
             ? ""
             : fmt::format("{} sequence{} of {} tokens need{} a KV cache of {}, and {} fit{}",
                           sequences, sequences == 1 ? "" : "s", context, sequences == 1 ? "s" : "",
                           needed, kv_tokens(),
                           options_.machine.kv_tokens > 0 ? " (--kv-tokens)" : "");
}

// The kinds of steps that prompts of `context` tokens have, for what is made on first use.
void ShapeRuns::warm_up(int64_t context, double share) {
  const int64_t chunk = chunk_tokens();
  const int64_t length = context <= chunk ? context : chunk + context % chunk;
  engine_->add(request(length, share, options_.seed, 0));
  run();
}

ShapeRun ShapeRuns::prefill(int64_t context, double share) {
  ShapeRun result{.context = context, .share = share, .tokens = static_cast<double>(context)};
  result.why_not = why_not(1, context, context);
  if (!result.why_not.empty()) {
    return result;
  }
  warm_up(context, share);
  show_progress("prefill", context * (options_.repeats + (options_.parts ? 1 : 0)));
  const auto once = [&] {
    engine_->add(request(context, share, options_.seed, 0));
    return run().front();
  };
  for (int i = 0; i < options_.repeats; ++i) {
    const SequenceStats stats = once();
    result.seconds.push_back(stats.first_token_s);
    result.skipped.prefill = stats.phases.prefill.total().sparsity();
  }
  if (options_.parts) {
    const PartSeconds before = engine_->stats().timed.prefill.seconds;
    engine_->time_parts(true);
    once();
    engine_->time_parts(false);
    PartSeconds parts = engine_->stats().timed.prefill.seconds;
    for (Part part : kParts) {
      parts[part] -= before[part];
    }
    result.parts = parts;
  }
  bar_.reset();
  return result;
}

// Prompts first, one by one, then all sequences at once: they find K and V of their prompts but for
// the last page, and begin to decode nearly together.
std::vector<RequestId> ShapeRuns::begin(int64_t context, double share, int64_t batch,
                                        int64_t new_tokens) {
  for (int64_t i = 0; i < batch; ++i) {
    engine_->add(request(context, share, options_.seed + i, 0));
    run();
  }
  std::vector<RequestId> ids;
  for (int64_t i = 0; i < batch; ++i) {
    ids.push_back(engine_->add(request(context, share, options_.seed + i, new_tokens)));
  }
  for (int64_t begun = 0; begun < batch;) {
    for (const Event& event : step()) {
      check(!event.finish, ErrorCode::kInternal, "a sequence ended before all had begun");
      begun += event.token && engine_->stats(event.id)->generated_tokens == 1;
    }
  }
  return ids;
}

std::vector<ShapeRun> ShapeRuns::decode(int64_t context, double share, std::vector<int64_t> batches,
                                        int64_t new_tokens) {
  std::ranges::sort(batches, std::greater{});
  const int64_t room = decode_room(batches, new_tokens, chunk_tokens());
  std::vector<ShapeRun> results;
  std::vector<RequestId> running;
  const auto decode_step = [&] {
    const Clock::time_point start = Clock::now();
    size_t tokens = 0;
    for (const Event& event : step()) {
      tokens += event.token.has_value();
    }
    return std::pair(tokens, seconds_since(start));
  };
  for (int64_t batch : batches) {
    ShapeRun& result = results.emplace_back(ShapeRun{
        .context = context, .batch = batch, .share = share, .tokens = static_cast<double>(batch)});
    if (running.empty()) {
      result.why_not = why_not(batch, context, context + room);
      if (!result.why_not.empty()) {
        continue;
      }
      show_progress("prompts", batch * context);
      running = begin(context, share, batch, room);
      bar_.reset();
    }
    for (; std::ssize(running) > batch; running.pop_back()) {
      engine_->cancel(running.back());
    }
    const auto whole_steps = [&](int64_t count, std::vector<double>* seconds) {
      for (int64_t i = 0; i < count; ++i) {
        const auto [tokens, taken] = decode_step();
        check(static_cast<int64_t>(tokens) == batch, ErrorCode::kInternal,
              "{} of {} sequences decoded in a step", tokens, batch);
        if (seconds != nullptr) {
          seconds->push_back(taken);
        }
      }
    };
    whole_steps(kSettling, nullptr);
    const EngineStats before = engine_->stats();
    whole_steps(new_tokens, &result.seconds);
    result.skipped.decode = sparsity(before, engine_->stats(), Phase::kDecode);
    if (options_.parts) {
      engine_->time_parts(true);
      whole_steps(kTimedSettling, nullptr);
      const TimedSteps settled = engine_->stats().timed.decode;
      whole_steps(kTimed, nullptr);
      engine_->time_parts(false);
      result.parts = per_step(settled, engine_->stats().timed.decode);
    }
  }
  for (RequestId id : running) {
    engine_->cancel(id);
  }
  run();
  std::ranges::reverse(results);
  return results;
}

ShapeRun ShapeRuns::throughput(int64_t context, double share, int64_t requests,
                               int64_t new_tokens) {
  ShapeRun result{.context = context,
                  .batch = requests,
                  .share = share,
                  .tokens = static_cast<double>(requests * (context + new_tokens))};
  result.why_not = why_not(1, context, context + new_tokens);
  if (!result.why_not.empty()) {
    return result;
  }
  const auto add = [&](int64_t count, int64_t prompt, int64_t tokens) {
    for (int64_t i = 0; i < count; ++i) {
      engine_->add(request(prompt, share, options_.seed + i, tokens));
    }
  };
  // As many as run at a time, in full unless that is long: a long run forgives a cold start.
  const int64_t at_once = std::min(options_.batch, requests);
  const int64_t prompt = std::clamp<int64_t>(kWarmUpTokens / at_once, 1, context);
  const int64_t tokens = std::min(kWarmUpSteps, new_tokens);
  show_progress("warm-up", at_once * (prompt + tokens));
  warm_up(context, share);
  add(at_once, prompt, tokens);
  run();
  show_progress("throughput", requests * (context + new_tokens));
  add(requests, context, new_tokens);
  const EngineStats before = engine_->stats();
  const Clock::time_point start = Clock::now();
  run();
  result.seconds.push_back(seconds_since(start));
  for (Phase phase : kPhases) {
    result.skipped[phase] = sparsity(before, engine_->stats(), phase);
  }
  bar_.reset();
  return result;
}

}  // namespace hopskip::apps
