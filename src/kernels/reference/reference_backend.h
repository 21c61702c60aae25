// Every operation of backend.h, slow and obvious: sums in double, one rounding at the end.
#ifndef HOPSKIP_KERNELS_REFERENCE_REFERENCE_BACKEND_H_
#define HOPSKIP_KERNELS_REFERENCE_REFERENCE_BACKEND_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/host_clock.h"
#include "kernels/host_step.h"
#include "kernels/host_workspace.h"

namespace hopskip {

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(const BackendOptions& options);

  std::string description() const override;
  Matrix allocate(int64_t rows, int64_t cols, MatrixKind) override {
    return workspace_.allocate(rows, cols);
  }
  void reset_workspace() override { workspace_.reset(); }

  HostBytes host_bytes(std::span<const TensorView> weights, const KvConfig& kv) const override;
  WeightPtr load(const TensorView& view) override;
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) override;

  std::unique_ptr<Step> begin_step(const StepInputs& inputs) override {
    clock_.begin_step(inputs);
    return std::make_unique<HostStep>(inputs);
  }
  void end_step(Step& step) override { clock_.end_step(step); }

  void embed(const Step& step, const Weight& w, Matrix y) override;
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) override;
  void linear(Matrix x, std::span<const LinearTerm> terms) override;
  void rope(const Step& step, Matrix x, int head_dim, const Rope& rope) override;
  void silu_mul(Matrix gate, Matrix up, Matrix out) override;
  void gather_rows(const Step& step, Matrix x, Matrix y) override;
  void clear(Matrix x) override;

  void kv_append(Step& step, int layer, Matrix k, Matrix v) override;
  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug) override;
  TilePlan tile_plan(Phase phase, const AttentionShape& shape, DType kv_dtype) const override;

  std::span<const float> read(Matrix x) override;

  void top_candidates(Matrix logits, Matrix out) override;
  CandidateRows read_candidates(Matrix candidates) override;

  WeightPtr load_experts(std::span<const TensorView> experts) override;
  void moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
           Matrix residual) override;

 private:
  ThreadPool pool_;
  HostWorkspace workspace_;
  HostClock clock_;
  PerPhase<TilePlan> tile_plans_;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_REFERENCE_REFERENCE_BACKEND_H_
