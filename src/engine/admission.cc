#include "engine/admission.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr int64_t kMaxPages = std::numeric_limits<int32_t>::max();
constexpr int64_t kLeastShare = 8;  // of the host's memory, a part in so many is the KV cache's

}  // namespace

uint64_t prefix_salt(const Request& request) {
  const PerPhase<double>& factor = request.threshold_scale_factor;
  if (factor.prefill == 0.0 && factor.decode == 0.0) {
    return 0;
  }
  uint64_t salt = 1;
  for (uint64_t bits :
       {std::bit_cast<uint64_t>(factor.prefill), std::bit_cast<uint64_t>(factor.decode),
        static_cast<uint64_t>(request.min_context)}) {
    salt = (salt ^ bits) * 0x9e3779b97f4a7c15u;
    salt ^= salt >> 32;
  }
  return salt;
}

EngineOptions resolved(EngineOptions options, const ModelConfig& model) {
  constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
  if (options.context == 0) {
    options.context = model.max_position;
  }
  check(options.context > 0 && options.context <= model.max_position, kInvalid,
        "context is {}; the model allows 1 to {}", options.context, model.max_position);
  check(options.kv_tokens >= 0, kInvalid, "kv_tokens is {}; it must be 0 (automatic) or above",
        options.kv_tokens);
  check(options.max_sequences > 0, kInvalid, "max_sequences is {}; it must be 1 or above",
        options.max_sequences);
  check(options.chunk_tokens >= options.max_sequences, kInvalid,
        "chunk_tokens is {}; it must be at least max_sequences, {}: in a step each "
        "sequence that decodes takes a token",
        options.chunk_tokens, options.max_sequences);
  return options;
}

KvConfig kv_config(const EngineOptions& options, const ModelConfig& model, int64_t memory) {
  KvConfig config;
  config.num_layers = static_cast<int>(model.num_layers);
  config.num_kv_heads = static_cast<int>(model.num_kv_heads);
  config.head_dim = static_cast<int>(model.head_dim);
  config.dtype = options.kv_dtype;
  config.context = options.context;
  if (options.kv_tokens == 0 && memory > 0) {
    const int64_t fitting = memory / config.bytes_per_page();
    check(
        fitting > 0, ErrorCode::kOutOfMemory,
        "beside the weights and a step of {} tokens the device has room for {} tokens of KV cache, "
        "which is less than a page of {}; take a smaller model, a smaller chunk_tokens "
        "or another device",
        options.chunk_tokens, memory / (config.bytes_per_page() / config.page_size),
        config.page_size);
    const int64_t context_pages = (options.context - 1) / config.page_size + 1;
    config.num_pages = std::min({fitting, context_pages * options.max_sequences, kMaxPages});
    return config;
  }
  const int64_t tokens = options.kv_tokens == 0 ? options.context : options.kv_tokens;
  config.num_pages = (tokens - 1) / config.page_size + 1;
  check(config.num_pages <= kMaxPages, ErrorCode::kInvalidArgument,
        "kv_tokens is {}; at most {} can be addressed", tokens, kMaxPages * config.page_size);
  return config;
}

KvConfig within(KvConfig config, int64_t spare, int64_t mapped) {
  const int64_t memory = std::max(spare - mapped, spare / kLeastShare);
  config.num_pages =
      std::min(config.num_pages, std::max<int64_t>(1, memory / config.bytes_per_page()));
  return config;
}

LengthLimit length_limit(const EngineOptions& options, int64_t kv_capacity, int64_t max_position,
                         bool on_host) {
  const int64_t wanted = options.context > 0 ? options.context : max_position;
  if (kv_capacity >= wanted) {
    return {.tokens = wanted,
            .what = fmt::format("a context of {}", wanted),
            .way_out = wanted < max_position
                           ? fmt::format("raise context, at most to {}", max_position)
                           : ""};
  }
  LengthLimit limit{.tokens = kv_capacity,
                    .what = fmt::format("a KV cache of {} tokens", kv_capacity)};
  if (options.kv_tokens > 0) {
    limit.way_out = "raise kv_tokens";
    return limit;
  }
  limit.notice =
      fmt::format("KV cache of {} tokens: there is memory for no more of the context of {}",
                  kv_capacity, wanted);
  if (on_host) {
    limit.way_out = "make room for more: end other programs, or take a smaller model";
  } else {
    limit.way_out = fmt::format("make room for more: {}a smaller chunk_tokens, a smaller model",
                                options.kv_dtype == DType::kF8E4M3 ? "" : "kv_dtype fp8, ");
  }
  return limit;
}

std::string LengthLimit::too_long(int64_t tokens) const {
  return fmt::format("the prompt has {} tokens, which is too long for {}: shorten it{}", tokens,
                     what, way_out.empty() ? ", the model allows no more" : ", or " + way_out);
}

void check_request(const Request& request, const ModelConfig& model, const LengthLimit& limit) {
  constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
  const int64_t prompt_tokens = std::ssize(request.prompt);
  check(prompt_tokens > 0, kInvalid, "the prompt is empty; give at least one token");
  check(request.max_new_tokens >= 0, kInvalid, "max_new_tokens is {}; it must be 0 or above",
        request.max_new_tokens);
  const int64_t wanted = prompt_tokens + (request.max_new_tokens > 0 ? 1 : 0);
  check(wanted <= limit.tokens, kInvalid, "{}", limit.too_long(prompt_tokens));
  for (int32_t id : request.prompt) {
    check(id >= 0 && id < model.vocab_size, kInvalid,
          "the prompt holds token {}, the vocabulary ends at {}", id, model.vocab_size - 1);
  }
  validate(request.sampling);
  for (Phase phase : kPhases) {
    const double factor = request.threshold_scale_factor[phase];
    check(factor >= 0.0 && std::isfinite(factor), kInvalid,
          "the {} threshold scale factor is {}; it must be 0 (dense) or above, and finite",
          phase_name(phase), factor);
  }
  check(request.min_context >= 0, kInvalid, "min_context is {}; it must be 0 or above",
        request.min_context);
  check(request.decode_from.value_or(0) >= 0, kInvalid, "decode_from is {}; it must be 0 or above",
        request.decode_from.value_or(0));
}

}  // namespace hopskip
