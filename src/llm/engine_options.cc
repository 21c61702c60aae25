#include "llm/engine_options.h"

#include "base/check.h"

namespace hopskip {
namespace {

constexpr int kMaxThreads = 1024;

DType kv_dtype(const std::string& name) {
  check(name == "auto" || name == "bf16" || name == "f16", ErrorCode::kInvalidArgument,
        "no dtype '{}' for the KV cache (there are: auto, bf16, f16)", name);
  return name == "f16" ? DType::kF16 : DType::kBF16;
}

}  // namespace

std::unique_ptr<Backend> open_backend(const LLMOptions& options) {
  check(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
        "threads is {}; it must lie in 0…{} (0: all)", options.threads, kMaxThreads);
  return make_backend(options.device, {.threads = options.threads, .simd = options.simd});
}

EngineOptions engine_options(const LLMOptions& options) {
  return {.context = options.context,
          .kv_tokens = options.kv_tokens,
          .kv_dtype = kv_dtype(options.dtype),
          .chunk_tokens = options.chunk_tokens,
          .max_sequences = options.max_sequences,
          .prefix_reuse = options.prefix_reuse};
}

}  // namespace hopskip
