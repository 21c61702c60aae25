// Attention with Skip Softmax on the CPU: the paged KV cache and what CpuBackend forwards to.
#ifndef HOPSKIP_KERNELS_CPU_ATTENTION_H_
#define HOPSKIP_KERNELS_CPU_ATTENTION_H_

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/simd/level.h"
#include "tensor/buffer.h"

namespace hopskip {

// The members mean what Backend's members of the same name mean. Holds the scratch of its threads,
// so one call at a time; results do not depend on the number of threads.
class CpuAttention {
 public:
  // The pool must outlive it. Throws InvalidArgument or Unsupported for a tile plan that cannot be
  // followed.
  CpuAttention(ThreadPool& pool, SimdLevel level,
               const PerPhase<std::optional<TilePlan>>& tile_plans = {});
  ~CpuAttention();

  static void check_kv(const KvConfig& config);
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config);
  std::unique_ptr<Step> begin_step(const StepInputs& inputs);
  void kv_append(Step& step, int layer, Matrix k, Matrix v);
  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug = {});
  TilePlan tile_plan(Phase phase, const AttentionShape& shape) const;

 private:
  ThreadPool& pool_;
  const SimdLevel level_;
  const PerPhase<std::optional<TilePlan>> tile_plans_;
  std::vector<Buffer> scratch_;  // one for each thread
  Buffer decode_scratch_;        // scores and partial results of the decode sequences
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_ATTENTION_H_
