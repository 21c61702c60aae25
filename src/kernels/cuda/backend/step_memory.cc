#include "kernels/cuda/backend/step_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/cuda/backend/kv_storage.h"

namespace hopskip::cuda {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kFirstInputBytes = size_t{1} << 18;  // of a step of 8,192 tokens, about
constexpr size_t kFirstCountBytes = size_t{1} << 20;
constexpr int64_t kNoToken = -1;  // slot of a row that is not appended

// Page table entries of the prefill sequences of a step whose cache they cannot read as it is.
int64_t expanded_pages(const StepInputs& inputs) {
  const KvConfig& kv = inputs.kv->config();
  int64_t count = 0;
  for (const AttentionSequence& s : inputs.sequences) {
    const bool expanded = kv.dtype == DType::kF8E4M3 && s.phase == Phase::kPrefill;
    count += expanded ? (s.kv_len - 1) / kv.page_size + 1 : 0;
  }
  return count;
}

}  // namespace

int64_t decode_bucket(int64_t sequences) {
  // A padded row costs attention nothing, and products little as long as there are few.
  struct Range {
    int64_t up_to, multiple;
  };
  constexpr Range kRanges[] = {{2, 1}, {4, 2}, {8, 4}, {64, 8}, {256, 16}, {1024, 64}};
  for (const auto& [up_to, multiple] : kRanges) {
    if (sequences <= up_to) {
      return (sequences + multiple - 1) / multiple * multiple;
    }
  }
  return 0;
}

StepLayout::StepLayout(const StepInputs& inputs, int64_t tokens_padded, int64_t rows_padded,
                       int64_t sequences_padded)
    : num_tokens(tokens_padded),
      num_rows(rows_padded),
      num_sequences(sequences_padded),
      num_heads(inputs.num_heads),
      num_layers(inputs.kv->config().num_layers) {
  const auto reserve = [&](int64_t bytes) {
    const size_t begin = input_bytes;
    input_bytes += (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    return begin;
  };
  slots = reserve(num_tokens * sizeof(int64_t));
  rows = reserve(num_rows * sizeof(int64_t));
  tokens = reserve(num_tokens * sizeof(int32_t));
  positions = reserve(num_tokens * sizeof(int32_t));
  thresholds = reserve(num_sequences * sizeof(float));
  pages = reserve(expanded_pages(inputs) * sizeof(int32_t));
  count_bytes = num_layers * num_sequences * num_heads * sizeof(SkipCounts);
}

CudaStep::CudaStep(const StepInputs& inputs, const StepLayout& layout,
                   std::function<void()> abandon)
    : Step(inputs, layout.num_tokens, layout.num_rows),
      layout_(layout),
      abandon_(std::move(abandon)) {
  for (const AttentionSequence& s : sequences()) {
    check(s.phase == Phase::kPrefill || s.q_len == 1, ErrorCode::kUnsupported,
          "a decode step of {} tokens on a GPU; more than one are a prefill step", s.q_len);
    planned_[s.phase].push_back(
        {.q_begin = s.q_begin, .q_len = s.q_len, .kv_len = s.kv_len, .pages = s.pages});
  }
  for (Phase phase : kPhases) {
    if (!planned_[phase].empty()) {
      runs_[phase] = {{0, std::ssize(planned_[phase])}};
    }
  }
  const KvConfig& config = kv().config();
  if (config.dtype == DType::kF8E4M3 && !planned_.prefill.empty()) {
    expansion_.emplace(planned_.prefill, config.page_size, scratch_pages(config));
    runs_.prefill.assign(expansion_->runs().begin(), expansion_->runs().end());
  }
  PerPhase<int64_t> next{first(Phase::kPrefill), first(Phase::kDecode)};
  for (const AttentionSequence& s : sequences()) {
    order_.push_back(next[s.phase]++);
  }
}

CudaStep::~CudaStep() {
  if (ready_ == nullptr) {
    abandon_();
  }
}

void CudaStep::write_inputs(std::byte* to) const {
  const auto array = [&]<typename T>(size_t offset, T /*type*/) {
    return reinterpret_cast<T*>(to + offset);
  };
  int64_t* slots = array(layout_.slots, int64_t{});
  std::fill_n(slots, num_tokens(), kNoToken);
  const int64_t page_size = kv().config().page_size;
  float* thresholds = array(layout_.thresholds, float{});
  for (size_t i = 0; i < sequences().size(); ++i) {
    const AttentionSequence& s = sequences()[i];
    for (int64_t t = 0; t < s.q_len; ++t) {
      const int64_t position = s.kv_len - s.q_len + t;
      slots[s.q_begin + t] = s.pages[position / page_size] * page_size + position % page_size;
    }
    thresholds[order_[i]] = s.threshold_log2;
  }
  const auto copy_padded = [&]<typename T>(std::span<const T> from, T* first, int64_t count) {
    std::fill(std::ranges::copy(from, first).out, first + count, T{0});
  };
  copy_padded(inputs().tokens, array(layout_.tokens, int32_t{}), num_tokens());
  copy_padded(inputs().positions, array(layout_.positions, int32_t{}), num_tokens());
  copy_padded(inputs().rows, array(layout_.rows, int64_t{}), num_rows());
  if (expansion_) {
    std::ranges::copy(expansion_->pages(), array(layout_.pages, int32_t{}));
  }
}

void CudaStep::ended(const SkipCounts* counts, cudaEvent_t ready) {
  device_counts_ = counts;
  ready_ = ready;
}

std::span<const SkipCounts> CudaStep::counts() const {
  if (counts_.empty() && ready_ != nullptr) {
    check_cuda(cudaEventSynchronize(ready_), "run a step");
    counts_.reserve(layout_.num_layers * order_.size() * layout_.num_heads);
    for (int64_t layer = 0; layer < layout_.num_layers; ++layer) {
      for (int64_t place : order_) {
        const SkipCounts* from =
            device_counts_ + (layer * layout_.num_sequences + place) * layout_.num_heads;
        counts_.insert(counts_.end(), from, from + layout_.num_heads);
      }
    }
  }
  return counts_;
}

StepMemory::StepMemory() : uploaded_(make_event()), ended_(make_event()) {}

bool StepMemory::begin(const CudaStep& step, cudaStream_t stream) {
  const StepLayout& layout = step.layout();
  bool moved = false;
  check_cuda(cudaEventSynchronize(uploaded_.get()), "upload a step");
  if (inputs_ == nullptr || layout.input_bytes > input_capacity_) {
    const size_t bytes = std::max(kFirstInputBytes, std::bit_ceil(layout.input_bytes));
    input_capacity_ = 0;
    inputs_ = allocate_device(bytes, "a step's inputs");
    staging_ = allocate_pinned(bytes, "a step's inputs");
    input_capacity_ = bytes;
    moved = true;
  }
  if (counts_ == nullptr || layout.count_bytes > count_capacity_) {
    check_cuda(cudaEventSynchronize(ended_.get()), "run a step");
    const size_t bytes = std::max(kFirstCountBytes, std::bit_ceil(layout.count_bytes));
    count_capacity_ = 0;
    counts_ = allocate_device(bytes, "a step's skip counts");
    read_counts_ = allocate_pinned(bytes, "a step's skip counts");
    count_capacity_ = bytes;
    moved = true;
  }
  step.write_inputs(staging_.get());
  check_cuda(cudaMemcpyAsync(inputs_.get(), staging_.get(), layout.input_bytes,
                             cudaMemcpyHostToDevice, stream),
             "upload a step");
  check_cuda(cudaEventRecord(uploaded_.get(), stream), "upload a step");
  check_cuda(cudaMemsetAsync(counts_.get(), 0, layout.count_bytes, stream), "clear skip counts");
  return moved;
}

void StepMemory::end(CudaStep& step, cudaStream_t stream) {
  check_cuda(cudaMemcpyAsync(read_counts_.get(), counts_.get(), step.layout().count_bytes,
                             cudaMemcpyDeviceToHost, stream),
             "read skip counts");
  check_cuda(cudaEventRecord(ended_.get(), stream), "read skip counts");
  step.ended(reinterpret_cast<const SkipCounts*>(read_counts_.get()), ended_.get());
}

}  // namespace hopskip::cuda
