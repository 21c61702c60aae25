// The mixture of experts on the CPU: tokens are sorted by expert, so that each expert's weights are
// read once.
#ifndef HOPSKIP_KERNELS_CPU_MOE_H_
#define HOPSKIP_KERNELS_CPU_MOE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/linear.h"
#include "kernels/huge_memory.h"
#include "tensor/buffer.h"

namespace hopskip {

// A weight of its own for each expert, so that what linear() needs (whole panels) holds for each.
WeightPtr load_cpu_experts(ThreadPool& pool, HugeArena& arena, std::span<const TensorView> experts);

class CpuMoe {
 public:
  // Both must outlive it.
  CpuMoe(CpuElementwise& elementwise, CpuLinear& linear)
      : elementwise_(elementwise), linear_(linear) {}
  void operator()(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
                  Matrix residual);

 private:
  // A token's use of one expert. Slots number all uses in an order where those of one expert are
  // neighbours.
  struct Use {
    int32_t expert = 0;
    float weight = 0.0f;
    int64_t slot = 0;
  };
  // The slots [begin, begin + count) of one expert.
  struct Group {
    int64_t expert = 0;
    int64_t begin = 0;
    int64_t count = 0;
  };

  void route(Matrix router_logits, const MoeRouting& routing);
  void group(int64_t experts, int64_t top_k);
  // One product for each group: y[slots] = x[slots] · expertᵀ, for each pair of weight and y.
  struct Product {
    const Weight* w;
    Matrix y;  // [slots][out]
  };
  void multiply(Matrix x, std::span<const Product> products);

  CpuElementwise& elementwise_;
  CpuLinear& linear_;
  std::vector<Use> uses_;        // [T][top_k]
  std::vector<int64_t> tokens_;  // of each slot
  std::vector<Group> groups_;    // those of less than kGemmTokens come first
  Buffer x_, gate_, up_;         // [slots][H], [slots][I] twice
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_MOE_H_
