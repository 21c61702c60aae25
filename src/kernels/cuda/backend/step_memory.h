// A step on the GPU: its inputs and skip counts.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_STEP_MEMORY_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_STEP_MEMORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "hopskip/attention.h"
#include "kernels/backend.h"
#include "kernels/cuda/backend/handles.h"
#include "kernels/cuda/backend/kv_expansion.h"

namespace hopskip::cuda {

// The padded size of a step of `sequences` decoding sequences, so that few graphs serve all; 0:
// too many for a graph to be of use.
int64_t decode_bucket(int64_t sequences);

// How a step's inputs and counts lie in GPU memory. Everything follows from sizes that are equal in
// all steps of a graph.
struct StepLayout {
  int64_t num_tokens = 0;     // padded
  int64_t num_rows = 0;       // of gather_rows()
  int64_t num_sequences = 0;  // rows of counts and thresholds
  int64_t num_heads = 0;
  int64_t num_layers = 0;
  // Offsets, bytes.
  size_t slots = 0;       // int64 [num_tokens], for kv_append
  size_t rows = 0;        // int64 [num_rows]
  size_t tokens = 0;      // int32 [num_tokens]
  size_t positions = 0;   // int32 [num_tokens]
  size_t thresholds = 0;  // float [num_sequences]
  size_t pages = 0;       // int32, of prefill over FP8: KvExpansion::pages()
  size_t input_bytes = 0;
  size_t count_bytes = 0;  // SkipCounts [num_layers][num_sequences][num_heads], apart

  StepLayout(const StepInputs& inputs, int64_t num_tokens, int64_t num_rows, int64_t num_sequences);
};

class CudaStep final : public Step {
 public:
  // abandon: called where the step is destroyed before its end.
  CudaStep(const StepInputs& inputs, const StepLayout& layout, std::function<void()> abandon);
  ~CudaStep() override;

  std::span<const SkipCounts> counts() const override;

  const StepLayout& layout() const { return layout_; }
  // The sequences of a phase, in the order of counts and thresholds: those of prefill come first.
  PerPhase<std::span<const PlannedSequence>> planned() const {
    return {planned_.prefill, planned_.decode};
  }
  // What attention computes of them at once: all, but for FP8 prefill that the scratch cannot hold.
  PerPhase<std::span<const SequenceRun>> runs() const { return {runs_.prefill, runs_.decode}; }
  // Nothing unless the step prefills over an FP8 cache. Then planned() has the scratch's pages.
  const std::optional<KvExpansion>& expansion() const { return expansion_; }
  // Where a phase's first sequence stands in that order.
  int64_t first(Phase phase) const {
    return phase == Phase::kPrefill ? 0 : std::ssize(planned_.prefill);
  }
  // The step's inputs as layout() has them.
  void write_inputs(std::byte* to) const;
  // Called by the backend: `counts` in pinned memory, [num_layers][num_sequences][num_heads], hold
  // when `ready` has come.
  void ended(const SkipCounts* counts, cudaEvent_t ready);

 private:
  StepLayout layout_;
  std::function<void()> abandon_;
  PerPhase<std::vector<PlannedSequence>> planned_;
  PerPhase<std::vector<SequenceRun>> runs_;
  std::optional<KvExpansion> expansion_;
  std::vector<int64_t> order_;  // sequence in the caller's order → in the device's
  const SkipCounts* device_counts_ = nullptr;
  cudaEvent_t ready_ = nullptr;
  mutable std::vector<SkipCounts> counts_;
};

// The device memory that steps take turns in.
class StepMemory {
 public:
  // On the current device.
  StepMemory();

  // Uploads the inputs of a step and clears its counts. True where addresses have changed.
  bool begin(const CudaStep& step, cudaStream_t stream);
  // Starts to copy the counts back.
  void end(CudaStep& step, cudaStream_t stream);

  template <typename T>
  T* input(size_t offset) const {
    return reinterpret_cast<T*>(inputs_.get() + offset);
  }
  // Of one layer, from the sequence at `first` on: [sequences][num_heads].
  SkipCounts* counts(const StepLayout& layout, int layer, int64_t first) const {
    return reinterpret_cast<SkipCounts*>(counts_.get()) +
           (layer * layout.num_sequences + first) * layout.num_heads;
  }

 private:
  DeviceMemory inputs_, counts_;
  PinnedMemory staging_, read_counts_;
  size_t input_capacity_ = 0;
  size_t count_capacity_ = 0;
  Event uploaded_;  // the last inputs have left `staging_`
  Event ended_;     // the last counts are in `read_counts_`
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_STEP_MEMORY_H_
