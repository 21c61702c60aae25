// A step whose operations run at once, in host memory.
#ifndef HOPSKIP_KERNELS_HOST_STEP_H_
#define HOPSKIP_KERNELS_HOST_STEP_H_

#include <span>
#include <vector>

#include "kernels/contract.h"

namespace hopskip {

class HostStep : public Step {
 public:
  // Throws InvalidArgument as Backend::begin_step().
  explicit HostStep(const StepInputs& inputs)
      : Step(checked(inputs), std::ssize(inputs.tokens), std::ssize(inputs.rows)),
        layer_counts_(inputs.sequences.size() * inputs.num_heads),
        counts_(layer_counts_ * inputs.kv->config().num_layers) {}

  std::span<const SkipCounts> counts() const override { return counts_; }
  // Of one layer: [S][num_heads], to be added to.
  std::span<SkipCounts> counts(int layer) {
    return std::span(counts_).subspan(layer * layer_counts_, layer_counts_);
  }

 private:
  static const StepInputs& checked(const StepInputs& inputs) {
    check_step(inputs);
    return inputs;
  }

  size_t layer_counts_;
  std::vector<SkipCounts> counts_;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_HOST_STEP_H_
