#include "kernels/cuda/backend/attention_set.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "kernels/cuda/config_check.h"
#include "kernels/cuda/select.h"

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

bool fits(const AttentionSet::Layer& layer, const KvConfig& kv) {
  return layer.page_size == kv.page_size && layer.kv_dtype == kv.dtype;
}

}  // namespace

AttentionConfig attention_config(const AttentionShape& shape, DType kv_dtype, int page_size,
                                 Phase phase, int device) {
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
  if (kv_dtype == DType::kF8E4M3 && phase == Phase::kDecode) {
    config.kv_type = ScalarType::kF8E4M3;
  }
  config.scale = shape.scale;
  config.causal = shape.causal;
  config.window = shape.window;
  config.page_size = page_size;
  config.max_pages = 1;
  return config;
}

bool AttentionSet::plan(const CudaStep& step, CudaStream stream) {
  const KvConfig& kv = step.kv().config();
  sequences_ = step.planned();
  runs_ = step.runs();
  bool made = false;
  for (Layer& layer : layers_) {
    layer.planned = {};
    if (fits(layer, kv) && layer.shape.num_heads == step.inputs().num_heads &&
        layer.shape.num_kv_heads == kv.num_kv_heads && layer.shape.head_dim == kv.head_dim) {
      made |= plan(layer, stream);
    }
  }
  return made;
}

bool AttentionSet::plan(Layer& layer, CudaStream stream) {
  bool made = false;
  for (Phase phase : kPhases) {
    std::vector<Attention>& attentions = layer.attention[phase];
    for (const SequenceRun& run : runs_[phase]) {
      const auto sequences = sequences_[phase].subspan(run.begin, run.end - run.begin);
      int64_t pages = 0;
      for (const PlannedSequence& s : sequences) {
        pages += (s.kv_len - 1) / layer.page_size + 1;
      }
      AttentionConfig config =
          attention_config(layer.shape, layer.kv_dtype, layer.page_size, phase, device_);
      config.max_sequences = static_cast<int>(capacity_for(std::ssize(sequences), kFirstSequences));
      config.max_pages = capacity_for(pages, kFirstPages);
      size_t& planned = layer.planned[phase];
      if (planned == attentions.size()) {
        attentions.emplace_back(config);
      } else if (const AttentionConfig& old = attentions[planned].config();
                 old.max_sequences < std::ssize(sequences) || old.max_pages < pages) {
        // What it could hold, the new one holds as well.
        config.max_sequences = std::max(config.max_sequences, old.max_sequences);
        config.max_pages = std::max(config.max_pages, old.max_pages);
        attentions[planned] = Attention(config);
        made = true;
      }
      attentions[planned].plan(sequences, stream);
      ++planned;
    }
  }
  return made;
}

AttentionSet::Layer& AttentionSet::layer(const AttentionShape& shape, const KvConfig& kv,
                                         bool may_make, CudaStream stream) {
  const auto found = std::ranges::find_if(
      layers_, [&](const Layer& layer) { return fits(layer, kv) && same(layer.shape, shape); });
  if (found != layers_.end()) {
    return *found;
  }
  check(may_make, ErrorCode::kInternal,
        "a layer's attention appears in a step whose like had none of its shape");
  const AttentionConfig prefill =
      attention_config(shape, kv.dtype, kv.page_size, Phase::kPrefill, device_);
  Layer& layer = layers_.emplace_back();
  layer.shape = shape;
  layer.page_size = kv.page_size;
  layer.kv_dtype = kv.dtype;
  try {
    validate(prefill);
    layer.key_span = select_kernel(prefill).tile_plan(prefill, 0).span;
    plan(layer, stream);
  } catch (...) {
    layers_.pop_back();
    throw;
  }
  return layer;
}

}  // namespace hopskip::cuda
