#include "kernels/cuda/config_check.h"

#include <cmath>
#include <limits>

#include "base/check.h"

namespace hopskip::cuda {
namespace {

// Kernels count heads, sequences and pages with 32 bits, and (sequence, head) pairs too.
constexpr int kMaxHeads = 1 << 14;
constexpr int kMaxHeadDim = 1 << 14;
constexpr int kMaxSequences = 1 << 16;
constexpr int64_t kMaxPages = std::numeric_limits<int32_t>::max();

template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  check(condition, ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

void validate_types(const AttentionConfig& config) {
  require(config.q_type == ScalarType::kBF16 || config.q_type == ScalarType::kF16,
          "q_type is {}; queries and outputs are bf16 or f16", scalar_name(config.q_type));
  const bool fp8 = config.kv_type == ScalarType::kF8E4M3 && config.phase == Phase::kDecode;
  require(config.kv_type == config.q_type || fp8,
          "kv_type is {} with q_type {} in {}; it must be q_type, or in decode fp8",
          scalar_name(config.kv_type), scalar_name(config.q_type), phase_name(config.phase));
}

}  // namespace

std::string_view scalar_name(ScalarType type) {
  switch (type) {
    case ScalarType::kBF16:
      return "bf16";
    case ScalarType::kF16:
      return "f16";
    case ScalarType::kF8E4M3:
      return "fp8";
  }
  return "unknown";
}

AttentionShape shape_of(const AttentionConfig& config) {
  AttentionShape shape;
  shape.num_heads = config.num_heads;
  shape.num_kv_heads = config.num_kv_heads;
  shape.head_dim = config.head_dim;
  shape.scale =
      config.scale == 0.0f ? 1.0f / std::sqrt(static_cast<float>(config.head_dim)) : config.scale;
  shape.window = config.window;
  shape.causal = config.causal;
  return shape;
}

void validate(const AttentionConfig& config) {
  require(config.phase == Phase::kPrefill || config.phase == Phase::kDecode,
          "phase is {}; it must be kPrefill or kDecode", static_cast<int>(config.phase));
  require(config.device >= 0, "device is {}; it must be a CUDA ordinal, 0 or more", config.device);
  hopskip::validate(shape_of(config));
  require(config.num_heads <= kMaxHeads, "num_heads is {}; at most {} are possible",
          config.num_heads, kMaxHeads);
  require(config.head_dim <= kMaxHeadDim, "head_dim is {}; at most {} is possible", config.head_dim,
          kMaxHeadDim);
  validate_types(config);
  require(config.page_size == 0 || config.page_size == 16 || config.page_size == 32 ||
              config.page_size == 64 || config.page_size == 128,
          "page_size is {}; it must be 16, 32, 64 or 128, or 0 for contiguous keys and values",
          config.page_size);
  require(config.max_sequences >= 1 && config.max_sequences <= kMaxSequences,
          "max_sequences is {}; it must lie in 1…{}", config.max_sequences, kMaxSequences);
  if (config.page_size > 0) {
    require(config.max_pages >= 1 && config.max_pages <= kMaxPages,
            "max_pages is {}; with page_size {} it must lie in 1…{}, enough for the page tables of "
            "all sequences of a plan together",
            config.max_pages, config.page_size, kMaxPages);
  } else {
    require(config.max_pages == 0,
            "max_pages is {} without pages; set page_size, or max_pages to 0", config.max_pages);
  }
}

}  // namespace hopskip::cuda
