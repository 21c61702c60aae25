#include "kernels/cuda/backend/attention_set.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace hopskip::cuda {
namespace {

// Capacities start here and double: making an object anew voids the captured graphs.
constexpr int64_t kFirstSequences = 64;
constexpr int64_t kFirstPages = 1 << 14;

int64_t capacity_for(int64_t needed, int64_t first) {
  return std::max<int64_t>(first, std::bit_ceil(static_cast<uint64_t>(needed)));
}

bool same(const AttentionShape& a, const AttentionShape& b) {
  return a.num_heads == b.num_heads && a.num_kv_heads == b.num_kv_heads &&
         a.head_dim == b.head_dim && a.scale == b.scale && a.window == b.window &&
         a.causal == b.causal;
}

}  // namespace

AttentionConfig attention_config(const AttentionShape& shape, const KvConfig& kv, Phase phase,
                                 int device) {
  check(shape.softcap == 0.0f, ErrorCode::kUnsupported,
        "GPU attention has no soft-cap of the scores; use the cpu");
  check(shape.sinks == nullptr, ErrorCode::kUnsupported,
        "GPU attention has no sink logits; use the cpu");
  AttentionConfig config;
  config.phase = phase;
  config.device = device;
  config.num_heads = shape.num_heads;
  config.num_kv_heads = shape.num_kv_heads;
  config.head_dim = shape.head_dim;
  config.scale = shape.scale;
  config.causal = shape.causal;
  config.window = shape.window;
  config.page_size = kv.page_size;
  config.max_pages = 1;
  return config;
}

bool AttentionSet::plan(PerPhase<std::span<const PlannedSequence>> sequences, int num_heads,
                        const KvConfig& kv, CudaStream stream) {
  sequences_ = sequences;
  bool made = false;
  for (Layer& layer : layers_) {
    layer.planned = {};
    if (layer.page_size == kv.page_size && layer.shape.num_heads == num_heads &&
        layer.shape.num_kv_heads == kv.num_kv_heads && layer.shape.head_dim == kv.head_dim) {
      made |= plan(layer, kv, stream);
    }
  }
  return made;
}

bool AttentionSet::plan(Layer& layer, const KvConfig& kv, CudaStream stream) {
  bool made = false;
  for (Phase phase : kPhases) {
    const std::span<const PlannedSequence> sequences = sequences_[phase];
    if (sequences.empty()) {
      continue;
    }
    int64_t pages = 0;
    for (const PlannedSequence& s : sequences) {
      pages += (s.kv_len - 1) / kv.page_size + 1;
    }
    std::optional<Attention>& attention = layer.attention[phase];
    if (!attention || attention->config().max_sequences < std::ssize(sequences) ||
        attention->config().max_pages < pages) {
      AttentionConfig config = attention_config(layer.shape, kv, phase, device_);
      config.max_sequences = static_cast<int>(capacity_for(std::ssize(sequences), kFirstSequences));
      config.max_pages = capacity_for(pages, kFirstPages);
      if (attention) {  // what it could hold, the new one holds as well
        config.max_sequences = std::max(config.max_sequences, attention->config().max_sequences);
        config.max_pages = std::max(config.max_pages, attention->config().max_pages);
        made = true;
      }
      attention.emplace(config);
    }
    attention->plan(sequences, stream);
    layer.planned[phase] = true;
  }
  return made;
}

AttentionSet::Layer& AttentionSet::layer(const AttentionShape& shape, const KvConfig& kv,
                                         bool may_make, CudaStream stream) {
  const auto found = std::ranges::find_if(layers_, [&](const Layer& layer) {
    return layer.page_size == kv.page_size && same(layer.shape, shape);
  });
  if (found != layers_.end()) {
    return *found;
  }
  check(may_make, ErrorCode::kInternal,
        "a layer's attention appears in a step whose like had none of its shape");
  Layer& layer = layers_.emplace_back();
  layer.shape = shape;
  layer.page_size = kv.page_size;
  try {
    plan(layer, kv, stream);
  } catch (...) {
    layers_.pop_back();
    throw;
  }
  return layer;
}

}  // namespace hopskip::cuda
