// The backend for x86-64 processors; other machines get its portable loops.
#ifndef HOPSKIP_KERNELS_CPU_CPU_BACKEND_H_
#define HOPSKIP_KERNELS_CPU_CPU_BACKEND_H_

#include <memory>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/moe.h"
#include "kernels/cpu/simd/level.h"
#include "kernels/cpu/top_candidates.h"
#include "kernels/host_clock.h"
#include "kernels/host_workspace.h"
#include "kernels/huge_memory.h"

namespace hopskip {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const BackendOptions& options);

  std::string description() const override;
  Matrix allocate(int64_t rows, int64_t cols, MatrixKind) override {
    return workspace_.allocate(rows, cols);
  }
  void reset_workspace() override { workspace_.reset(); }

  HostBytes host_bytes(std::span<const TensorView> weights, const KvConfig& kv) const override;
  WeightPtr load(const TensorView& view) override;

  void check_kv(const KvConfig& config) const override { CpuAttention::check_kv(config); }
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) override {
    return attention_.make_kv_storage(config);
  }

  std::unique_ptr<Step> begin_step(const StepInputs& inputs) override {
    clock_.begin_step(inputs);
    return attention_.begin_step(inputs);
  }
  void end_step(Step& step) override { clock_.end_step(step); }

  void embed(const Step& step, const Weight& w, Matrix y) override {
    clock_.enter(Part::kRest);
    elementwise_.embed(step, w, y);
  }
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) override {
    clock_.enter(Part::kRest);
    elementwise_.rms_norm(x, weight, eps, y);
  }
  void linear(Matrix x, std::span<const LinearTerm> terms) override {
    clock_.enter(Part::kLinear);
    linear_(x, terms);
  }
  void rope(const Step& step, Matrix x, int head_dim, const Rope& rope) override {
    clock_.enter(Part::kRest);
    elementwise_.rope(step, x, head_dim, rope);
  }
  void silu_mul(Matrix gate, Matrix up, Matrix out) override {
    clock_.enter(Part::kRest);
    elementwise_.silu_mul(gate, up, out);
  }
  void gather_rows(const Step& step, Matrix x, Matrix y) override {
    clock_.enter(Part::kRest);
    elementwise_.gather_rows(step, x, y);
  }
  void clear(Matrix x) override {
    clock_.enter(Part::kRest);
    elementwise_.clear(x);
  }

  void kv_append(Step& step, int layer, Matrix k, Matrix v) override {
    clock_.enter(Part::kRest);
    attention_.kv_append(step, layer, k, v);
  }
  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug) override {
    clock_.enter(Part::kAttention);
    attention_.attention(step, shape, layer, q, out, debug);
  }
  TilePlan tile_plan(Phase phase, const AttentionShape& shape, DType /*kv_dtype*/) const override {
    return attention_.tile_plan(phase, shape);
  }

  std::span<const float> read(Matrix x) override;

  void top_candidates(Matrix logits, Matrix out) override {
    clock_.enter(Part::kRest);
    cpu_top_candidates(pool_, level_, logits, out);
  }
  CandidateRows read_candidates(Matrix candidates) override;

  WeightPtr load_experts(std::span<const TensorView> experts) override;
  void moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
           Matrix residual) override {
    clock_.enter(Part::kExperts);
    moe_(x, router_logits, w, routing, residual);
  }

 private:
  const SimdLevel level_;
  ThreadPool pool_;
  HugeArena weights_;
  HostWorkspace workspace_;
  CpuElementwise elementwise_;
  CpuLinear linear_;
  CpuAttention attention_;
  CpuMoe moe_;
  HostClock clock_;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_CPU_BACKEND_H_
