#include "hopskip/llm.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/mapped_file.h"
#include "engine/engine.h"
#include "llm/engine_options.h"
#include "llm/generation.h"
#include "llm/model_path.h"
#include "llm/sparse.h"
#include "llm/text_model.h"
#include "text/stop_matcher.h"

namespace hopskip {
namespace {

namespace fs = std::filesystem;
using StatePtr = std::shared_ptr<Generation::State>;

std::optional<SkipProfile> open_profile(const std::string& file, const Checkpoint& checkpoint) {
  if (!file.empty()) {
    return parse_skip_profile(MappedFile(file).text(), file);
  }
  const std::string& own = checkpoint.config.sparse_attention_config;
  return own.empty() ? std::nullopt
                     : std::optional(
                           parse_skip_profile(own, checkpoint.path + ": sparse_attention_config"));
}

std::string model_name(const Checkpoint& checkpoint) {
  return checkpoint.config.name.empty() ? fs::path(checkpoint.path).stem().string()
                                        : checkpoint.config.name;
}

// What callers leave for the inference thread. Generations hold it too: they may outlive the LLM.
struct Mailbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<StatePtr> arrived;
  bool poked = false;  // a request wants to be cancelled
  bool closing = false;
  std::exception_ptr failure;  // the engine is beyond use

  void poke() {
    const std::lock_guard lock(mutex);
    poked = true;
    changed.notify_one();
  }
};

}  // namespace

struct LLM::Impl {
  Checkpoint checkpoint;
  std::unique_ptr<Backend> backend;
  Engine engine;
  TextModel text;
  std::optional<SkipProfile> profile;
  SkipSoftmaxConfig sparse_attention;
  std::string profile_file;
  ModelInfo info;
  std::shared_ptr<Mailbox> mailbox = std::make_shared<Mailbox>();
  std::thread thread;

  explicit Impl(const LLMOptions& options)
      : checkpoint(open_checkpoint(find_model(options.model, options.folders))),
        backend(open_backend(options)),
        engine(checkpoint, *backend, engine_options(options, *backend)),
        text(checkpoint),
        profile(open_profile(options.profile, checkpoint)),
        sparse_attention(options.sparse_attention),
        profile_file(options.profile) {
    const ModelConfig& config = checkpoint.config;
    const PerPhase<TilePlan> plans = engine.tile_plans();
    const std::string name = model_name(checkpoint);
    info = {.model = options.model,
            .name = name,
            .path = checkpoint.path,
            .format = checkpoint.format,
            .architecture = config.architecture,
            .device = backend->description(),
            .kv_dtype = std::string(dtype_name(engine_options(options, *backend).kv_dtype)),
            .num_layers = config.num_layers,
            .num_heads = config.num_heads,
            .num_kv_heads = config.num_kv_heads,
            .head_dim = config.head_dim,
            .hidden_size = config.hidden_size,
            .vocab_size = config.vocab_size,
            .num_experts = config.num_experts,
            .num_experts_per_tok = config.num_experts_per_tok,
            .context = engine.context(),
            .max_context = config.max_position,
            .tensor_bytes = checkpoint.tensor_bytes(),
            .has_chat_template = text.has_chat_template(),
            .tile_plan = {to_string(plans.prefill), to_string(plans.decode)},
            .threshold_scale_factor =
                resolve_sparse(sparse_attention, profile, name, plans).threshold_scale_factor};
    if (!engine.notice().empty()) {
      info.notices.push_back(engine.notice());
    }
    thread = std::thread([this] { run(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mailbox->mutex);
      mailbox->closing = true;
      mailbox->changed.notify_one();
    }
    thread.join();
  }

  StatePtr prepare(const Prompt& prompt, const GenerateParams& params, GenerateEvents events) {
    validate(params);
    auto state = std::make_shared<Generation::State>(params.stop, std::move(events));
    const SkipSoftmaxConfig& sparse =
        params.sparse_attention ? *params.sparse_attention : sparse_attention;
    state->sparse = resolve_sparse(sparse, profile, info.name, engine.tile_plans());
    if (!profile_file.empty() && !sparse.target_sparsity) {
      state->sparse.notices.push_back(
          fmt::format("the profile {} is not used: no target sparsity is given", profile_file));
    }
    Request& request = state->request;
    request.prompt = text.encode(prompt);
    check_prompt(request.prompt, params.max_tokens > 0);
    request.max_new_tokens = params.max_tokens;
    request.stop_ids = params.ignore_eos ? std::vector<int32_t>{} : text.stop_ids();
    request.sampling = params.sampling;
    request.threshold_scale_factor = state->sparse.threshold_scale_factor;
    request.min_context = state->sparse.min_context;
    request.decode_from = params.decode_from;
    if (state->events.on_prompt_logprobs) {
      request.on_prompt_logits = [raw = state.get()](const PromptLogits& block) {
        raw->guarded([&] { raw->events.on_prompt_logprobs(block.begin, block.next_logprobs); });
      };
    }
    state->wake = [mailbox = mailbox] { mailbox->poke(); };
    return state;
  }

  // The engine refuses these too, but only when it takes the request.
  void check_prompt(std::span<const int32_t> ids, bool generates) const {
    const auto tokens = static_cast<int64_t>(ids.size());
    check(tokens + (generates ? 1 : 0) <= engine.context(), ErrorCode::kInvalidArgument, "{}",
          engine.too_long(tokens));
    for (int32_t id : ids) {
      check(id >= 0 && id < info.vocab_size, ErrorCode::kInvalidArgument,
            "token id {} is outside the vocabulary of {}", id, info.vocab_size);
    }
  }

  void post(StatePtr state) {
    const std::lock_guard lock(mailbox->mutex);
    if (mailbox->failure) {
      std::rethrow_exception(mailbox->failure);
    }
    mailbox->arrived.push_back(std::move(state));
    mailbox->changed.notify_one();
  }

  // The inference thread: the only one that touches the engine once it runs.
  void run() {
    std::map<RequestId, StatePtr> live;
    for (bool closing = false; !closing || !live.empty();) {
      std::vector<StatePtr> arrived;
      {
        std::unique_lock lock(mailbox->mutex);
        mailbox->changed.wait(lock, [&] {
          return mailbox->closing || mailbox->poked || !mailbox->arrived.empty() || !live.empty();
        });
        closing = mailbox->closing;
        mailbox->poked = false;
        arrived.swap(mailbox->arrived);
      }
      for (StatePtr& state : arrived) {
        try {
          state->id = engine.add(std::move(state->request));
          live.emplace(state->id, state);
        } catch (...) {
          state->promise.set_exception(std::current_exception());
        }
      }
      try {
        advance(live, closing);
      } catch (...) {
        fail_all(live, std::current_exception());
        return;
      }
    }
  }

  void advance(std::map<RequestId, StatePtr>& live, bool closing) {
    for (const auto& [id, state] : live) {
      if (closing || state->cancelled) {
        engine.cancel(id);
      }
    }
    for (const Event& event : engine.step()) {
      const auto entry = live.find(event.id);
      if (entry == live.end()) {
        continue;
      }
      Generation::State& state = *entry->second;
      if (event.token) {
        // A stop string ends the request: the engine knows only tokens.
        if (state.push(*event.token, text.tokenizer())) {
          state.cancelled = true;
        }
      }
      if (event.finish) {
        state.finish(event);
        live.erase(entry);
      }
    }
    for (const auto& [id, state] : live) {
      const SequenceStats* stats = engine.stats(id);
      if (state->events.on_prefill && stats != nullptr && state->output.tokens.empty()) {
        const int64_t done =
            stats->reused_tokens + stats->phases.prefill.tokens + stats->phases.decode.tokens;
        state->guarded([&, state = state.get()] {
          state->events.on_prefill(std::min(done, stats->prompt_tokens), stats->prompt_tokens);
        });
      }
    }
  }

  void fail_all(std::map<RequestId, StatePtr>& live, const std::exception_ptr& failure) {
    const std::lock_guard lock(mailbox->mutex);
    mailbox->failure = failure;
    for (const auto& [id, state] : live) {
      state->promise.set_exception(failure);
    }
    for (const StatePtr& state : mailbox->arrived) {
      state->promise.set_exception(failure);
    }
  }
};

void validate(const GenerateParams& params) {
  check(params.max_tokens >= 0, ErrorCode::kInvalidArgument,
        "max_tokens is {}; it must not be negative", params.max_tokens);
  validate(params.sampling);
  validate_stops(params.stop);
}

LLM::LLM(LLMOptions options) : impl_(std::make_unique<Impl>(options)) {}
LLM::~LLM() = default;

Generation LLM::submit(const Prompt& prompt, const GenerateParams& params, GenerateEvents events) {
  StatePtr state = impl_->prepare(prompt, params, std::move(events));
  impl_->post(state);
  return Generation(std::move(state));
}

Output LLM::generate(const Prompt& prompt, const GenerateParams& params, GenerateEvents events) {
  return submit(prompt, params, std::move(events)).wait();
}

std::vector<Output> LLM::generate(std::span<const Prompt> prompts, const GenerateParams& params) {
  std::vector<Generation> running;
  for (const Prompt& prompt : prompts) {
    running.push_back(submit(prompt, params));
  }
  std::vector<Output> outputs;
  for (Generation& generation : running) {
    outputs.push_back(generation.wait());
  }
  return outputs;
}

std::vector<int32_t> LLM::encode(const Prompt& prompt) const { return impl_->text.encode(prompt); }

std::string LLM::decode(std::span<const int32_t> tokens) const {
  return to_valid_utf8(impl_->text.tokenizer().decode(tokens, /*skip_special=*/true));
}

const ModelInfo& LLM::info() const { return impl_->info; }

}  // namespace hopskip
