// The hopskip::Attention objects of a backend: one for each layer shape and phase.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_ATTENTION_SET_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_ATTENTION_SET_H_

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "hopskip/attention.h"
#include "kernels/backend.h"

namespace hopskip::cuda {

// What attention runs a shape over a storage with; the capacities are left to the caller. Throws
// Unsupported for what no kernel has: soft-caps and sinks.
AttentionConfig attention_config(const AttentionShape& shape, const KvConfig& kv, Phase phase,
                                 int device);

class AttentionSet {
 public:
  // A layer shape's attention, planned for the current step where the phase has sequences.
  struct Layer {
    AttentionShape shape;
    int page_size = 0;
    PerPhase<std::optional<Attention>> attention;
    PerPhase<bool> planned{};
  };

  explicit AttentionSet(int device) : device_(device) {}

  // A step begins: the sequences of each phase, in the order of their counts and thresholds. Plans
  // all layers that are known and fit `kv`. True where an object was made anew to hold more: what
  // was captured with the old one is void.
  bool plan(PerPhase<std::span<const PlannedSequence>> sequences, int num_heads, const KvConfig& kv,
            CudaStream stream);
  // The layer, planned: made if it is new. may_make: false during a capture, where an unknown layer
  // throws Internal. The sequences are those of plan().
  Layer& layer(const AttentionShape& shape, const KvConfig& kv, bool may_make, CudaStream stream);

 private:
  bool plan(Layer& layer, const KvConfig& kv, CudaStream stream);

  int device_;
  std::list<Layer> layers_;  // do not move
  PerPhase<std::span<const PlannedSequence>> sequences_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_ATTENTION_SET_H_
