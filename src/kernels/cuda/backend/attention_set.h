// The hopskip::Attention objects of a backend: one for each layer shape and phase.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_ATTENTION_SET_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_ATTENTION_SET_H_

#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "hopskip/attention.h"
#include "kernels/backend.h"
#include "kernels/cuda/backend/step_memory.h"

namespace hopskip::cuda {

// What attention runs a shape over a storage with; the capacities are left to the caller. Prefill
// over FP8 reads a copy in BF16. Throws Unsupported for what no kernel has: soft-caps and sinks.
AttentionConfig attention_config(const AttentionShape& shape, DType kv_dtype, int page_size,
                                 Phase phase, int device);

class AttentionSet {
 public:
  // A layer shape's attention. The first of each phase are planned for the runs of the current
  // step.
  struct Layer {
    AttentionShape shape;
    int page_size = 0;
    DType kv_dtype = DType::kBF16;
    int64_t key_span = 0;  // prefill reads keys from a multiple of it on
    PerPhase<std::vector<Attention>> attention;
    PerPhase<size_t> planned{};
  };

  explicit AttentionSet(int device) : device_(device) {}

  // A step begins. Plans all layers that are known and fit its storage. True where an object was
  // made anew to hold more: what was captured with the old one is void. The step must last until
  // the next one begins, or layer() is not called.
  bool plan(const CudaStep& step, CudaStream stream);
  // The layer, planned for the step: made if it is new. may_make: false during a capture, where an
  // unknown layer throws Internal.
  Layer& layer(const AttentionShape& shape, const KvConfig& kv, bool may_make, CudaStream stream);

 private:
  bool plan(Layer& layer, CudaStream stream);

  int device_;
  std::list<Layer> layers_;  // do not move
  PerPhase<std::span<const PlannedSequence>> sequences_;
  PerPhase<std::span<const SequenceRun>> runs_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_ATTENTION_SET_H_
