// hopskip::Attention: the chosen kernel, its workspace, and the copy of each plan into it.
#include "hopskip/attention.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cuda/config_check.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/plan.h"
#include "kernels/cuda/select.h"
#include "kernels/cuda/tensors.h"

namespace hopskip {
namespace {

using cuda::check_cuda;
using cuda::DecodeItem;
using cuda::Sequence;

// The numbers of a plan that kernels read from device memory.
struct PlanHeader {
  int32_t num_sequences;
  int32_t num_items;
  int32_t split_keys;
};

// Where each array begins in the workspace. A plan fills the first part, up to `planned_bytes`,
// from a pinned copy with the same layout; kernels keep the rest. Nothing ever moves, so a captured
// graph sees later plans.
struct WorkspaceLayout {
  size_t sequences = 0;  // [max_sequences], behind the header
  size_t items = 0;      // [decode_capacity]
  size_t pages = 0;      // [max_pages]
  size_t planned_bytes = 0;
  size_t work = 0;         // [2]
  size_t partial_lse = 0;  // [decode_capacity][group]
  size_t partial_out = 0;  // [decode_capacity][group][head_dim]
  size_t bytes = 0;

  WorkspaceLayout(const AttentionConfig& config, int slots) {
    const auto items_capacity = static_cast<size_t>(cuda::decode_capacity(config, slots));
    const auto group = static_cast<size_t>(config.num_heads / config.num_kv_heads);
    reserve(sizeof(PlanHeader));
    sequences = reserve(sizeof(Sequence) * config.max_sequences);
    items = reserve(sizeof(DecodeItem) * items_capacity);
    pages = reserve(sizeof(int32_t) * config.max_pages);
    planned_bytes = bytes;
    work = reserve(2 * sizeof(int32_t));
    partial_lse = reserve(sizeof(float) * items_capacity * group);
    partial_out = reserve(sizeof(float) * items_capacity * group * config.head_dim);
  }

 private:
  size_t reserve(size_t size) {
    constexpr size_t kAlignment = 256;
    const size_t begin = bytes;
    bytes += (size + kAlignment - 1) / kAlignment * kAlignment;
    return begin;
  }
};

AttentionConfig validated(const AttentionConfig& config) {
  cuda::validate(config);
  return config;
}

class Event {
 public:
  Event() {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "create an event");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

struct Attention::Impl {
  explicit Impl(const AttentionConfig& user_config)
      : config(validated(user_config)),
        kernel(cuda::select_kernel(config)),
        num_ctas(kernel.ctas_per_multiprocessor(config) *
                 cuda::gpu_properties(config.device).multiprocessors),
        layout(config, num_ctas),
        scope(std::make_unique<cuda::DeviceScope>(config.device)),
        workspace(cuda::allocate_device(layout.bytes, "the attention workspace")),
        staging(cuda::allocate_pinned(layout.planned_bytes, "the attention plan")) {
    // Kernels leave their counters at 0 for the next launch; the first finds them so.
    check_cuda(cudaMemset(workspace.get(), 0, layout.partial_lse), "clear the workspace");
    check_cuda(cudaStreamSynchronize(nullptr), "clear the workspace");
    scope.reset();
  }

  ~Impl() {
    int previous = 0;
    cudaGetDevice(&previous);
    cudaSetDevice(config.device);
    workspace.reset();
    staging.reset();
    cudaSetDevice(previous);
  }

  template <typename T>
  T* device(size_t offset) const {
    return reinterpret_cast<T*>(workspace.get() + offset);
  }

  template <typename T>
  void stage(size_t offset, const std::vector<T>& values, CudaStream stream) {
    if (values.empty()) {
      return;
    }
    const size_t bytes = values.size() * sizeof(T);
    std::memcpy(staging.get() + offset, values.data(), bytes);
    check_cuda(cudaMemcpyAsync(workspace.get() + offset, staging.get() + offset, bytes,
                               cudaMemcpyHostToDevice, stream),
               "copy a plan");
  }

  const AttentionConfig config;
  const cuda::AttentionKernel& kernel;
  const int num_ctas;
  const WorkspaceLayout layout;
  std::unique_ptr<cuda::DeviceScope> scope;  // while the members below are made
  cuda::DeviceMemory workspace;
  cuda::PinnedMemory staging;
  Event copied;  // the plan in `staging` has left it
  cuda::StepPlan plan;
};

Attention::Attention(const AttentionConfig& config) : impl_(std::make_unique<Impl>(config)) {}
Attention::~Attention() = default;
Attention::Attention(Attention&&) noexcept = default;
Attention& Attention::operator=(Attention&&) noexcept = default;

void Attention::plan(std::span<const PlannedSequence> sequences, CudaStream stream) {
  Impl& impl = *impl_;
  cuda::StepPlan plan = cuda::make_step_plan(impl.config, impl.kernel, impl.num_ctas, sequences);
  const cuda::DeviceScope scope(impl.config.device);
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream, &capture), "plan on this stream");
  check(capture == cudaStreamCaptureStatusNone, ErrorCode::kInvalidArgument,
        "plan() cannot be captured; call it before the capture, and again before a replay");
  check_cuda(cudaEventSynchronize(impl.copied.get()), "wait for the copy of the last plan");
  impl.plan = {};  // should a copy fail, there is none
  const PlanHeader header{static_cast<int32_t>(plan.sequences.size()), plan.num_items,
                          plan.split_keys};
  impl.stage(0, std::vector<PlanHeader>{header}, stream);
  impl.stage(impl.layout.sequences, plan.sequences, stream);
  impl.stage(impl.layout.items, plan.items, stream);
  impl.stage(impl.layout.pages, plan.pages, stream);
  check_cuda(cudaEventRecord(impl.copied.get(), stream), "copy a plan");
  impl.plan = std::move(plan);
}

void Attention::run(const AttentionTensors& tensors, CudaStream stream) const {
  const Impl& impl = *impl_;
  const WorkspaceLayout& layout = impl.layout;
  check(!impl.plan.sequences.empty(), ErrorCode::kInvalidArgument, "run() needs a plan() before");
  cuda::AttentionArgs args = cuda::make_args(
      impl.config, tensors, {impl.plan.q_rows, impl.plan.kv_tokens, impl.plan.num_pages});
  auto* header = impl.device<PlanHeader>(0);
  args.pages = impl.device<int32_t>(layout.pages);
  args.sequences = impl.device<Sequence>(layout.sequences);
  args.num_sequences = &header->num_sequences;
  args.num_items = &header->num_items;
  args.work = impl.device<int32_t>(layout.work);
  args.items = impl.device<DecodeItem>(layout.items);
  args.split_keys = &header->split_keys;
  args.partial_out = impl.device<float>(layout.partial_out);
  args.partial_lse = impl.device<float>(layout.partial_lse);
  const cuda::DeviceScope scope(impl.config.device);
  impl.kernel.launch({impl.config, args, tensors.q_rows, tensors.kv_tokens, tensors.num_pages,
                      impl.num_ctas, stream});
}

const AttentionConfig& Attention::config() const { return impl_->config; }

std::string Attention::kernel() const {
  const AttentionConfig& config = impl_->config;
  std::string name = fmt::format("{} hd{} {}", impl_->kernel.name, config.head_dim,
                                 cuda::scalar_name(config.q_type));
  if (config.kv_type != config.q_type) {
    name += fmt::format(" kv {}", cuda::scalar_name(config.kv_type));
  }
  return name;
}

std::string Attention::tile_plan() const {
  if (impl_->config.phase == Phase::kPrefill) {
    return to_string(impl_->kernel.tile_plan(impl_->config, 0));
  }
  check(!impl_->plan.sequences.empty(), ErrorCode::kInvalidArgument,
        "tile_plan() of decode needs a plan() before: it says where the keys are split");
  return to_string(impl_->plan.tile_plan);
}

int64_t Attention::skip_map_bytes() const {
  check(!impl_->plan.sequences.empty(), ErrorCode::kInvalidArgument,
        "skip_map_bytes() needs a plan() before");
  return impl_->plan.skip_map_offsets.back();
}

int64_t Attention::skip_map_offset(int64_t sequence) const {
  const auto planned = std::ssize(impl_->plan.sequences);
  check(sequence >= 0 && sequence < planned, ErrorCode::kInvalidArgument,
        "sequence {} is not one of the {} of the plan", sequence, planned);
  return impl_->plan.skip_map_offsets[sequence];
}

}  // namespace hopskip
