#include "llm/engine_options.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr int kMaxThreads = 1024;

DType kv_dtype(const std::string& name) {
  struct Row {
    std::string_view name;
    DType dtype;
  };
  // Our names, then those of vLLM, TensorRT-LLM and torch.
  constexpr Row kRows[] = {
      {"auto", DType::kBF16},   {"bf16", DType::kBF16},       {"f16", DType::kF16},
      {"fp8", DType::kF8E4M3},  {"fp8_e4m3", DType::kF8E4M3}, {"bfloat16", DType::kBF16},
      {"float16", DType::kF16}, {"fp16", DType::kF16},        {"half", DType::kF16},
  };
  const auto* row = std::ranges::find(kRows, name, &Row::name);
  check(row != std::end(kRows), ErrorCode::kInvalidArgument,
        "no dtype '{}' for the KV cache (there are: auto, bf16, f16, fp8)", name);
  return row->dtype;
}

}  // namespace

std::unique_ptr<Backend> open_backend(const LLMOptions& options) {
  check(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
        "threads is {}; it must lie in 0…{} (0: all)", options.threads, kMaxThreads);
  return make_backend(options.device, {.threads = options.threads, .simd = options.simd});
}

EngineOptions engine_options(const LLMOptions& options, const Backend& backend) {
  return {.context = options.context,
          .kv_tokens = options.kv_tokens,
          .kv_dtype = kv_dtype(options.kv_dtype),
          .chunk_tokens = options.chunk_tokens > 0 ? options.chunk_tokens : backend.chunk_tokens(),
          .max_sequences = options.max_sequences,
          .prefix_reuse = options.prefix_reuse,
          .on_load = options.on_load};
}

}  // namespace hopskip
