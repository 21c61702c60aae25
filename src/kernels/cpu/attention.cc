#include "kernels/cpu/attention.h"

#include <algorithm>
#include <utility>

#include "kernels/contract.h"
#include "kernels/cpu/kv_storage.h"
#include "kernels/cpu/simd/attention_kernels.h"
#include "kernels/host_step.h"

namespace hopskip {
namespace {

// Query tokens of one prefill task: a span of K and V that is brought to the L2 cache serves all of
// them, for all heads of the group.
constexpr int64_t kTaskTokens = 64;
// Decode keeps a score for each row and key.
constexpr int64_t kMaxDecodeTokens = 64;
constexpr int kMaxTileKeys = 128;

constexpr TilePlan kPrefillPlan{};
constexpr TilePlan kDecodePlan{.rows = 1, .seed = MaxSeed::kExact};

// A piece of one sequence for all heads of one KV group.
struct Task {
  int32_t sequence;
  int32_t kv_head;
  int64_t index;  // prefill: the first query token; decode: the split
  int64_t cost;
};

class CpuStep final : public HostStep {
 public:
  explicit CpuStep(const StepInputs& inputs) : HostStep(inputs) {
    for (int32_t i = 0; i < std::ssize(sequences()); ++i) {
      for (int32_t head = 0; head < kv().config().num_kv_heads; ++head) {
        add(sequences()[i], i, head);
      }
    }
    // Longest first; equal ones in their order, so that neighbours share their keys.
    const auto longer = [](const Task& a, const Task& b) { return a.cost > b.cost; };
    std::stable_sort(prefill_.begin(), prefill_.end(), longer);
  }

  // Longest first.
  std::span<const Task> prefill() const { return prefill_; }
  std::span<const Task> splits() const { return splits_; }
  // Sequences × KV heads in the decode phase.
  std::span<const Task> decode_heads() const { return decode_heads_; }
  // The place of a sequence and KV head in decode_heads().
  int64_t decode_index(const Task& task) const {
    return first_decode_[task.sequence] + task.kv_head;
  }

 private:
  void add(const AttentionSequence& s, int32_t index, int32_t head) {
    if (s.phase == Phase::kDecode) {
      check(s.q_len <= kMaxDecodeTokens, ErrorCode::kUnsupported,
            "a decode step of {} tokens; more than {} are a prefill step", s.q_len,
            kMaxDecodeTokens);
      first_decode_.resize(index + 1, 0);
      if (head == 0) {
        first_decode_[index] = std::ssize(decode_heads_);
      }
      decode_heads_.push_back({index, head, 0, s.kv_len});
      for (int64_t split = 0; split * kSplitKeys < s.kv_len; ++split) {
        splits_.push_back({index, head, split, s.kv_len});
      }
      return;
    }
    for (int64_t token = 0; token < s.q_len; token += kTaskTokens) {
      const int64_t last_position = s.kv_len - s.q_len + std::min(s.q_len, token + kTaskTokens);
      prefill_.push_back({index, head, token, last_position});
    }
  }

  std::vector<Task> prefill_;
  std::vector<Task> splits_;
  std::vector<Task> decode_heads_;
  std::vector<int64_t> first_decode_;  // [sequences]
};

void check_plan(Phase phase, const TilePlan& plan) {
  const auto check_that = [&](bool condition, const char* limit) {
    check(condition, ErrorCode::kUnsupported, "CPU {} cannot follow tile plan '{}': {}",
          phase_name(phase), to_string(plan), limit);
  };
  check_that(plan.keys % kSliceKeys == 0 && plan.keys <= kMaxTileKeys,
             "its keys must be 16, 32, 64 or 128");
  check_that((plan.keys & (plan.keys - 1)) == 0, "its keys must be 16, 32, 64 or 128");
  if (phase == Phase::kPrefill) {
    check_that(plan.rows == kLanes && plan.heads == 1, "16 rows of one head vote together");
    check_that(plan.span <= kMaxSpan, "a span has at most 1024 keys");
    check_that(plan.seed == MaxSeed::kNone, "the maximum starts unseeded");
    check_that(plan.split == 0, "it visits all keys in one pass");
  } else {
    check_that(plan.seed == MaxSeed::kExact, "it votes with the exact maximum");
  }
}

}  // namespace

CpuAttention::CpuAttention(ThreadPool& pool, SimdLevel level,
                           const PerPhase<std::optional<TilePlan>>& tile_plans)
    : pool_(pool), level_(level), tile_plans_(tile_plans), scratch_(pool.size()) {
  for (Phase phase : kPhases) {
    if (tile_plans[phase]) {
      validate(*tile_plans[phase], tile_plans[phase]->heads);
      check_plan(phase, *tile_plans[phase]);
    }
  }
}

CpuAttention::~CpuAttention() = default;

void CpuAttention::check_kv(const KvConfig& config) {
  check_kv_config(config);
  check(config.dtype != DType::kF8E4M3, ErrorCode::kUnsupported,
        "CPU attention with K and V in fp8: use bf16 or f16, or a GPU (device 'cuda')");
  check(config.head_dim % kLanes == 0 && config.head_dim <= kMaxHeadDim, ErrorCode::kUnsupported,
        "CPU attention with a head_dim of {}: multiples of {} up to {} are possible",
        config.head_dim, kLanes, kMaxHeadDim);
  check(config.page_size % kSliceKeys == 0, ErrorCode::kUnsupported,
        "CPU attention with pages of {} tokens: multiples of {} are possible", config.page_size,
        kSliceKeys);
}

std::unique_ptr<KvStorage> CpuAttention::make_kv_storage(const KvConfig& config) {
  check_kv(config);
  return std::make_unique<CpuKvStorage>(config);
}

std::unique_ptr<Step> CpuAttention::begin_step(const StepInputs& inputs) {
  return std::make_unique<CpuStep>(inputs);
}

TilePlan CpuAttention::tile_plan(Phase phase, const AttentionShape& shape) const {
  const TilePlan plan =
      tile_plans_[phase].value_or(phase == Phase::kPrefill ? kPrefillPlan : kDecodePlan);
  validate(plan, shape.group());
  return plan;
}

void CpuAttention::kv_append(Step& step, int layer, Matrix k, Matrix v) {
  check_kv_append(step, layer, k, v);
  const auto& own = own_cast<CpuKvStorage>(step.kv(), "KV storage");
  const KvConfig& config = own.config();
  const AttentionKernels& kernels = attention_kernels(level_, config.dtype);
  const int64_t heads = config.num_kv_heads;
  const auto append = [&](int64_t task, int) {
    const AttentionSequence& s = step.sequences()[task / heads];
    const int64_t head = task % heads;
    const int64_t offset = head * config.head_dim;
    kernels.append(own.head(layer, static_cast<int>(head), s.pages.data()), config.head_dim,
                   k.row(s.q_begin) + offset, v.row(s.q_begin) + offset, k.stride, v.stride,
                   s.kv_len - s.q_len, s.q_len);
  };
  pool_.parallel_for(std::ssize(step.sequences()) * heads, append);
}

void CpuAttention::attention(Step& step, const AttentionShape& shape, int layer, Matrix q,
                             Matrix out, const AttentionDebug& debug) {
  check_attention(step, shape, layer, q, out);
  const auto& storage = own_cast<const CpuKvStorage>(step.kv(), "KV storage");
  auto& own = own_cast<CpuStep>(step, "step");
  const std::span<SkipCounts> counts = own.counts(layer);
  const AttentionKernels& kernels = attention_kernels(level_, storage.config().dtype);
  const std::span<const AttentionSequence> sequences = step.sequences();
  const PerPhase<TilePlan> tile_plans{tile_plan(Phase::kPrefill, shape),
                                      tile_plan(Phase::kDecode, shape)};
  if (debug.maps != nullptr) {
    debug.maps->clear();
    for (const AttentionSequence& s : sequences) {
      debug.maps->emplace_back(shape, tile_plans[s.phase], s.q_len, s.kv_len);
    }
  }

  const auto attention_task = [&](const Task& piece) {
    const AttentionSequence& s = sequences[piece.sequence];
    AttentionTask task;
    task.shape = &shape;
    task.plan = tile_plans[s.phase];
    task.q_len = s.q_len;
    task.kv_len = s.kv_len;
    task.threshold_log2 = s.threshold_log2;
    task.kv = storage.head(layer, piece.kv_head, s.pages.data());
    task.first_head = piece.kv_head * shape.group();
    task.q = q.row(s.q_begin) + int64_t{task.first_head} * shape.head_dim;
    task.q_stride = q.stride;
    task.out = out.row(s.q_begin) + int64_t{task.first_head} * shape.head_dim;
    task.out_stride = out.stride;
    task.lse = debug.lse == nullptr ? nullptr : debug.lse + s.q_begin * shape.num_heads;
    if (debug.maps != nullptr) {
      SkipMap& map = (*debug.maps)[piece.sequence];
      task.states = map.states.data();
      task.row_tiles = map.row_tiles;
      task.key_tiles = map.key_tiles;
    }
    task.counts = &counts[int64_t{piece.sequence} * shape.num_heads + task.first_head];
    return task;
  };

  // Scratch: one part for each thread, and the state of each decoding sequence and KV head.
  int64_t most_rows = 0;
  std::vector<DecodeState> states;
  size_t floats = 0;
  for (bool place : {false, true}) {
    states.clear();
    decode_scratch_.reserve(floats * sizeof(float));
    floats = 0;
    const auto take = [&](int64_t count) {
      float* taken = place ? decode_scratch_.as<float>() + floats : nullptr;
      floats += (count + kLanes - 1) / kLanes * kLanes;
      return taken;
    };
    for (const Task& task : own.decode_heads()) {
      const AttentionSequence& s = sequences[task.sequence];
      const int64_t rows = s.q_len * shape.group();
      DecodeState state;
      state.splits = (s.kv_len + kSplitKeys - 1) / kSplitKeys;
      state.slices = state.splits * kSplitSlices;
      state.scores = take(rows * state.slices * kSliceKeys);
      state.slice_max = take(rows * state.slices);
      state.split_max = take(rows * state.splits);
      state.partial = take(state.splits * rows * shape.head_dim);
      state.sums = take(state.splits * rows);
      states.push_back(state);
      most_rows = std::max(most_rows, rows);
    }
  }
  const size_t bytes = std::max(
      own.prefill().empty() ? 0 : prefill_scratch_bytes(shape.head_dim, tile_plans.prefill.span),
      most_rows == 0 ? 0 : decode_scratch_bytes(shape.head_dim, most_rows));
  for (Buffer& buffer : scratch_) {
    buffer.reserve(bytes);
  }

  const int64_t prefills = std::ssize(own.prefill());
  const int64_t splits = std::ssize(own.splits());
  pool_.parallel_for(prefills + splits, [&](int64_t i, int thread) {
    std::byte* scratch = scratch_[thread].as<std::byte>();
    const Task& piece = i < prefills ? own.prefill()[i] : own.splits()[i - prefills];
    const AttentionTask task = attention_task(piece);
    if (i < prefills) {
      kernels.prefill(task, piece.index, std::min(task.q_len, piece.index + kTaskTokens), scratch);
    } else {
      kernels.decode_scores(task, states[own.decode_index(piece)], piece.index, scratch);
    }
  });
  pool_.parallel_for(splits, [&](int64_t i, int thread) {
    const Task& piece = own.splits()[i];
    kernels.decode_values(attention_task(piece), states[own.decode_index(piece)], piece.index,
                          scratch_[thread].as<std::byte>());
  });
  for (const Task& piece : own.decode_heads()) {
    kernels.decode_combine(attention_task(piece), states[own.decode_index(piece)]);
  }
}

}  // namespace hopskip
