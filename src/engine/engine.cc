#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <utility>

#include "attention/skip_rule.h"
#include "base/host_memory.h"
#include "engine/admission.h"
#include "engine/scheduler.h"
#include "engine/warm_up.h"
#include "hopskip/error.h"
#include "kvcache/page_pool.h"
#include "models/layers/kv_scales.h"
#include "models/model.h"

namespace hopskip {
namespace {

using Clock = std::chrono::steady_clock;

KvConfig with_scales(KvConfig config, const Checkpoint& checkpoint) {
  if (config.dtype == DType::kF8E4M3) {
    config.scales = kv_scales(checkpoint);
  }
  return config;
}

// Neither a context nor tokens of the KV cache are asked for: as many as fit are fine.
bool leaves_size_open(const EngineOptions& given) {
  return given.context == 0 && given.kv_tokens == 0;
}

// The KV cache that must fit beside the weights.
KvConfig planned_kv(const EngineOptions& given, const ModelConfig& model) {
  KvConfig config = kv_config(resolved(given, model), model, 0);
  if (leaves_size_open(given)) {
    config.num_pages = 1;
  }
  return config;
}

bool keeps_kv_on_host(const Backend& backend, const KvConfig& config) {
  return backend.host_bytes({}, config).kv_cache > 0;
}

// The model's weights are loaded. options: resolved(given).
std::unique_ptr<KvStorage> make_kv(const EngineOptions& given, const EngineOptions& options,
                                   Backend& backend, Model& model, const Checkpoint& checkpoint) {
  KvConfig config =
      kv_config(options, model.config(), memory_beside_largest_step(backend, model, options));
  if (leaves_size_open(given) && keeps_kv_on_host(backend, config)) {
    config = within(config, spare_memory(), mapped_bytes(checkpoint, backend));
  }
  return backend.make_kv_storage(with_scales(config, checkpoint));
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const Checkpoint& checkpoint, Backend& backend, const EngineOptions& options)
      : options_(resolved(options, checkpoint.config)),
        backend_(backend),
        model_(load_model(checkpoint, backend, options_.on_load,
                          planned_kv(options, checkpoint.config))),
        kv_(make_kv(options, options_, backend, *model_, checkpoint)),
        pool_(kv_->config().num_pages, kv_->config().page_size),
        scheduler_(pool_, {options_.chunk_tokens, options_.max_sequences}),
        limit_(length_limit(options_, pool_.num_pages() * pool_.page_size(),
                            model_->config().max_position,
                            keeps_kv_on_host(backend, kv_->config()))) {
    options_.on_load = {};  // the caller's, who need not outlive the constructor
  }

  RequestId add(Request request);
  bool cancel(RequestId id);
  bool idle() const { return jobs_.empty() && cancelled_.empty(); }
  std::span<const Event> step();

  void time_parts(bool on) { time_parts_ = on; }
  EngineStats stats() const;
  const SequenceStats* stats(RequestId id) const {
    const auto job = jobs_.find(id);
    return job == jobs_.end() ? nullptr : job->second.stats.get();
  }
  const ModelConfig& config() const { return model_->config(); }
  const LengthLimit& limit() const { return limit_; }
  PerPhase<TilePlan> tile_plans() const {
    const AttentionShape shape = model_->attention_shape();
    const DType kv_dtype = kv_->config().dtype;
    return {backend_.tile_plan(Phase::kPrefill, shape, kv_dtype),
            backend_.tile_plan(Phase::kDecode, shape, kv_dtype)};
  }

 private:
  struct Job {
    Request request;  // without its prompt: the sequence has it
    Sampler sampler;
    Sequence* sequence;
    int64_t max_tokens;  // prompt and output
    int64_t prompt_rows_given = 0;
    Clock::time_point added;
    std::shared_ptr<SequenceStats> stats;

    double seconds() const { return std::chrono::duration<double>(Clock::now() - added).count(); }
    int64_t prompt_end() const { return stats->prompt_tokens; }
    // Of a chunk, the rows whose logits on_prompt_logits still waits for: [first, end).
    std::pair<int64_t, int64_t> prompt_rows(const Chunk& chunk) const {
      return {std::max(chunk.begin, prompt_rows_given), std::min(chunk.end(), prompt_end())};
    }
  };

  void run(std::span<const Chunk> chunks);
  float threshold_log2(const Job& job, const Chunk& chunk) const;
  // place: the chunk's number in the step.
  void count(Job& job, const Chunk& chunk, const Step& step, size_t place);
  // first_row: of hidden, where the chunk's wanted rows begin. logits: scratch.
  void give_prompt_logits(Job& job, const Chunk& chunk, Matrix hidden, int64_t first_row,
                          Matrix logits);
  // row: the candidates of the last position, [1][vocab] logits, if it is the sequence's last.
  void advance(Job& job, const Chunk& chunk, const RowCandidates* row, Matrix logits);
  SampledToken sample(Job& job, const RowCandidates& row, Matrix logits);
  Event finish(RequestId id, FinishReason reason, const Error* error = nullptr);

  EngineOptions options_;
  Backend& backend_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<KvStorage> kv_;
  PagePool pool_;
  Scheduler scheduler_;
  LengthLimit limit_;
  bool time_parts_ = false;
  std::mt19937_64 seeds_{std::random_device{}()};

  RequestId next_id_ = 1;
  std::map<RequestId, Job> jobs_;
  std::vector<Event> cancelled_;  // for the next step to tell
  std::vector<Event> events_;
  EngineStats totals_;

  // Of the current step, kept for their memory.
  std::vector<int32_t> tokens_, positions_;
  std::vector<AttentionSequence> sequences_;
  std::vector<int64_t> rows_, last_rows_;
};

RequestId Engine::Impl::add(Request request) {
  check_request(request, config(), limit_);
  const RequestId id = next_id_++;
  const ModelConfig& c = config();
  const auto prompt_tokens = std::ssize(request.prompt);

  auto stats = std::make_shared<SequenceStats>();
  stats->num_layers = static_cast<int>(c.num_layers);
  stats->num_heads = static_cast<int>(c.num_heads);
  stats->prompt_tokens = prompt_tokens;
  for (Phase phase : kPhases) {
    stats->phases[phase].threshold_scale_factor = request.threshold_scale_factor[phase];
    stats->phases[phase].counts.resize(c.num_layers * c.num_heads);
  }
  const uint64_t seed = request.sampling.seed.value_or(seeds_());
  Sampler sampler(request.sampling, seed, request.prompt);

  Sequence& sequence = scheduler_.add(id, std::move(request.prompt));
  sequence.decode_from = request.decode_from.value_or(Sequence::kNever);
  sequence.share =
      options_.prefix_reuse && !request.decode_from.has_value() && !request.on_prompt_logits;
  sequence.salt = prefix_salt(request);

  const int64_t max_tokens =
      prompt_tokens + std::min(request.max_new_tokens, limit_.tokens - prompt_tokens);
  jobs_.emplace(id, Job{.request = std::move(request),
                        .sampler = std::move(sampler),
                        .sequence = &sequence,
                        .max_tokens = max_tokens,
                        .added = Clock::now(),
                        .stats = std::move(stats)});
  return id;
}

bool Engine::Impl::cancel(RequestId id) {
  if (!jobs_.contains(id)) {
    return false;
  }
  cancelled_.push_back(finish(id, FinishReason::kCancelled));
  return true;
}

std::span<const Event> Engine::Impl::step() {
  events_ = std::exchange(cancelled_, {});
  const std::span<const Chunk> chunks = scheduler_.schedule();
  if (chunks.empty()) {
    return events_;
  }
  std::vector<RequestId> ids;
  for (const Chunk& chunk : chunks) {
    ids.push_back(chunk.sequence->id);
  }
  try {
    run(chunks);
  } catch (const Error& error) {
    for (RequestId id : ids) {
      if (jobs_.contains(id)) {
        events_.push_back(finish(id, FinishReason::kError, &error));
      }
    }
  }
  ++totals_.steps;
  return events_;
}

void Engine::Impl::run(std::span<const Chunk> chunks) {
  const int64_t vocab = config().vocab_size;
  backend_.reset_workspace();
  tokens_.clear();
  positions_.clear();
  sequences_.clear();
  rows_.clear();
  last_rows_.clear();
  std::vector<Job*> jobs;
  std::vector<int64_t> first_row;  // of each chunk's rows, in rows_
  bool prompt_logits = false;
  for (const Chunk& chunk : chunks) {
    const Sequence& sequence = *chunk.sequence;
    Job& job = jobs_.at(sequence.id);
    jobs.push_back(&job);
    first_row.push_back(std::ssize(rows_));
    if (job.stats->started_s < 0.0) {
      job.stats->started_s = job.seconds();
    }
    const int64_t q_begin = std::ssize(tokens_);
    for (int64_t i = chunk.begin; i < chunk.end(); ++i) {
      tokens_.push_back(sequence.tokens[i]);
      positions_.push_back(static_cast<int32_t>(i));
    }
    sequences_.push_back({q_begin, chunk.count, chunk.end(), sequence.pages.pages(), chunk.phase,
                          threshold_log2(job, chunk)});
    const auto row_of = [&](int64_t position) { return q_begin + position - chunk.begin; };
    if (job.request.on_prompt_logits) {
      const auto [first, end] = job.prompt_rows(chunk);
      for (int64_t i = first; i < end; ++i) {
        rows_.push_back(row_of(i));
        prompt_logits = true;
      }
    }
    if (chunk.is_last()) {
      if (rows_.empty() || rows_.back() != row_of(chunk.end() - 1)) {
        rows_.push_back(row_of(chunk.end() - 1));
      }
      last_rows_.push_back(std::ssize(rows_) - 1);
    }
  }

  const std::unique_ptr<Step> step =
      backend_.begin_step({.tokens = tokens_,
                           .positions = positions_,
                           .sequences = sequences_,
                           .rows = rows_,
                           .kv = kv_.get(),
                           .num_heads = static_cast<int>(config().num_heads),
                           .reads_early = prompt_logits,
                           .timed = time_parts_});
  const Matrix hidden = model_->forward(*step);
  if (prompt_logits) {
    const Matrix block = backend_.allocate(std::min<int64_t>(kPromptLogitRows, std::ssize(rows_)),
                                           vocab, MatrixKind::kExact);
    for (size_t i = 0; i < chunks.size(); ++i) {
      if (jobs[i]->request.on_prompt_logits) {
        give_prompt_logits(*jobs[i], chunks[i], hidden, first_row[i], block);
      }
    }
  }
  Matrix last, best;
  if (const int64_t num_last = std::ssize(last_rows_); num_last > 0) {
    // Without rows for prompt logits the last ones are all there are, and padding.
    last = backend_.allocate(prompt_logits ? num_last : hidden.rows, vocab, MatrixKind::kExact);
    if (!prompt_logits) {
      model_->logits(hidden, last);
    }
    for (int64_t i = 0; prompt_logits && i < num_last; ++i) {
      model_->logits(hidden.row_range(last_rows_[i], 1), last.row_range(i, 1));
    }
    best = backend_.allocate(last.rows, candidate_cols(std::min(kMostCandidates, vocab)),
                             MatrixKind::kExact);
    backend_.top_candidates(last, best);
    best.rows = num_last;
  }
  backend_.end_step(*step);
  CandidateRows candidates;
  if (best.rows > 0) {
    candidates = backend_.read_candidates(best);
  }
  if (time_parts_) {
    const bool prefills = std::ranges::any_of(
        chunks, [](const Chunk& chunk) { return chunk.phase == Phase::kPrefill; });
    TimedSteps& timed = totals_.timed[prefills ? Phase::kPrefill : Phase::kDecode];
    timed.seconds += step->seconds();
    ++timed.steps;
  }
  for (size_t i = 0; i < chunks.size(); ++i) {
    count(*jobs[i], chunks[i], *step, i);
  }
  for (int64_t i = 0, row = 0; i < std::ssize(chunks); ++i) {
    if (chunks[i].is_last()) {
      const RowCandidates of_row = candidates[row];
      advance(*jobs[i], chunks[i], &of_row, last.row_range(row, 1));
      ++row;
    } else {
      advance(*jobs[i], chunks[i], nullptr, {});
    }
  }
}

float Engine::Impl::threshold_log2(const Job& job, const Chunk& chunk) const {
  return chunk.end() < job.request.min_context
             ? kDenseThresholdLog2
             : skip_threshold_log2(job.request.threshold_scale_factor[chunk.phase], chunk.end());
}

void Engine::Impl::count(Job& job, const Chunk& chunk, const Step& step, size_t place) {
  PhaseStats& phase = job.stats->phases[chunk.phase];
  job.stats->preemptions = job.sequence->preemptions;
  job.stats->reused_tokens = job.sequence->reused;
  phase.tokens += chunk.count;
  phase.steps += 1;
  if (chunk.end() < job.request.min_context && phase.threshold_scale_factor > 0.0) {
    phase.tokens_below_min_context += chunk.count;
  }
  const int heads = job.stats->num_heads;
  const std::span<const SkipCounts> counts = step.counts();
  for (int layer = 0; layer < job.stats->num_layers; ++layer) {
    const SkipCounts* added = &counts[(layer * step.sequences().size() + place) * heads];
    SkipCounts* sum = &phase.counts[layer * heads];
    for (int head = 0; head < heads; ++head) {
      sum[head] += added[head];
      totals_.skip[chunk.phase] += added[head];
    }
  }
  totals_.prompt_tokens +=
      std::max<int64_t>(0, std::min(chunk.end(), job.prompt_end()) - chunk.begin);
}

void Engine::Impl::give_prompt_logits(Job& job, const Chunk& chunk, Matrix hidden,
                                      int64_t first_row, Matrix logits) {
  const auto [first, end] = job.prompt_rows(chunk);
  const std::vector<int32_t>& tokens = chunk.sequence->tokens;
  std::vector<float> next_logprobs;
  for (int64_t begin = first; begin < end; begin += logits.rows) {
    const int64_t rows = std::min(logits.rows, end - begin);
    const Matrix y = logits.row_range(0, rows);
    model_->logits(hidden.row_range(first_row + begin - first, rows), y);
    const std::span<const float> values = backend_.read(y);
    next_logprobs.clear();
    for (int64_t i = 0; i < rows && begin + i + 1 < job.prompt_end(); ++i) {
      const std::span<const float> row = values.subspan(i * logits.cols, logits.cols);
      next_logprobs.push_back(static_cast<float>(row[tokens[begin + i + 1]] - log_sum_exp(row)));
    }
    job.request.on_prompt_logits({begin, rows, values, next_logprobs});
  }
  job.prompt_rows_given = std::max(job.prompt_rows_given, end);
}

SampledToken Engine::Impl::sample(Job& job, const RowCandidates& row, Matrix logits) {
  std::optional<SampledToken> token = job.sampler.sample(row, logits.cols);
  return token ? *std::move(token) : job.sampler.sample(row, backend_.read(logits));
}

// The chunk's K and V stand; its last row's logits, if it is the sequence's last, give a token.
void Engine::Impl::advance(Job& job, const Chunk& chunk, const RowCandidates* row, Matrix logits) {
  scheduler_.complete(chunk);
  if (row == nullptr) {
    return;
  }
  Sequence& sequence = *chunk.sequence;
  SequenceStats& stats = *job.stats;
  if (stats.first_token_s < 0.0) {
    stats.first_token_s = job.seconds();
  }
  if (job.request.max_new_tokens == 0) {
    events_.push_back(finish(sequence.id, FinishReason::kLength));
    return;
  }
  SampledToken token;
  try {
    token = sample(job, *row, logits);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) {
      throw;
    }
    // These logits are the sequence's own: the others of the step go on.
    events_.push_back(finish(sequence.id, FinishReason::kError, &error));
    return;
  }
  sequence.tokens.push_back(token.id);
  ++stats.generated_tokens;
  ++totals_.generated_tokens;

  Event event;
  event.id = sequence.id;
  if (std::ranges::find(job.request.stop_ids, token.id) != job.request.stop_ids.end()) {
    event = finish(sequence.id, FinishReason::kStop);
  } else if (std::ssize(sequence.tokens) >= job.max_tokens) {
    event = finish(sequence.id, FinishReason::kLength);
  }
  event.token = std::move(token);
  events_.push_back(std::move(event));
}

Event Engine::Impl::finish(RequestId id, FinishReason reason, const Error* error) {
  const auto job = jobs_.find(id);
  SequenceStats& stats = *job->second.stats;
  stats.finished_s = job->second.seconds();
  totals_.preemptions += stats.preemptions;
  totals_.reused_tokens += stats.reused_tokens;
  Event event;
  event.id = id;
  event.finish = reason;
  if (error != nullptr) {
    event.error = error->what();
    event.error_code = error->code();
  }
  event.stats = job->second.stats;
  scheduler_.remove(*job->second.sequence);
  jobs_.erase(job);
  return event;
}

EngineStats Engine::Impl::stats() const {
  EngineStats stats = totals_;
  stats.running = scheduler_.num_running();
  stats.waiting = scheduler_.num_waiting();
  stats.kv_pages = pool_.num_pages();
  stats.kv_pages_in_use = pool_.num_pages() - pool_.available();
  return stats;
}

Engine::Engine(const Checkpoint& checkpoint, Backend& backend, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(checkpoint, backend, options)) {}
Engine::~Engine() = default;

RequestId Engine::add(Request request) { return impl_->add(std::move(request)); }
bool Engine::cancel(RequestId id) { return impl_->cancel(id); }
bool Engine::idle() const { return impl_->idle(); }
std::span<const Event> Engine::step() { return impl_->step(); }
void Engine::time_parts(bool on) { impl_->time_parts(on); }
EngineStats Engine::stats() const { return impl_->stats(); }
const SequenceStats* Engine::stats(RequestId id) const { return impl_->stats(id); }
const ModelConfig& Engine::config() const { return impl_->config(); }
int64_t Engine::context() const { return impl_->limit().tokens; }
std::string Engine::too_long(int64_t prompt_tokens) const {
  return impl_->limit().too_long(prompt_tokens);
}
const std::string& Engine::notice() const { return impl_->limit().notice; }
PerPhase<TilePlan> Engine::tile_plans() const { return impl_->tile_plans(); }

}  // namespace hopskip
