// A backend that hands every operation to another one, for tools that look at what passes through.
#ifndef HOPSKIP_BENCH_SKIP_PLANS_FORWARDING_BACKEND_H_
#define HOPSKIP_BENCH_SKIP_PLANS_FORWARDING_BACKEND_H_

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernels/backend.h"

namespace hopskip {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string description() const override { return inner_->description(); }
  Matrix allocate(int64_t rows, int64_t cols) override { return inner_->allocate(rows, cols); }
  void reset_workspace() override { inner_->reset_workspace(); }
  WeightPtr load(const TensorView& view) override { return inner_->load(view); }
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) override {
    return inner_->make_kv_storage(config);
  }
  void embed(std::span<const int32_t> ids, const Weight& w, Matrix y) override {
    inner_->embed(ids, w, y);
  }
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) override {
    inner_->rms_norm(x, weight, eps, y);
  }
  void linear(Matrix x, std::span<const LinearTerm> terms) override { inner_->linear(x, terms); }
  void rope(Matrix x, int head_dim, std::span<const int32_t> positions, const Rope& rope) override {
    inner_->rope(x, head_dim, positions, rope);
  }
  void silu_mul(Matrix gate, Matrix up, Matrix out) override { inner_->silu_mul(gate, up, out); }
  void gather_rows(Matrix x, std::span<const int64_t> rows, Matrix y) override {
    inner_->gather_rows(x, rows, y);
  }
  std::unique_ptr<AttentionPlan> plan_attention(
      const KvStorage& kv, std::span<const AttentionSequence> sequences) override {
    return inner_->plan_attention(kv, sequences);
  }
  void kv_append(KvStorage& kv, int layer, const AttentionPlan& plan, Matrix k, Matrix v) override {
    inner_->kv_append(kv, layer, plan, k, v);
  }
  void attention(const AttentionShape& shape, const KvStorage& kv, int layer,
                 const AttentionPlan& plan, Matrix q, Matrix out, std::span<SkipCounts> counts,
                 const AttentionDebug& debug) override {
    inner_->attention(shape, kv, layer, plan, q, out, counts, debug);
  }
  TilePlan tile_plan(Phase phase, const AttentionShape& shape) const override {
    return inner_->tile_plan(phase, shape);
  }
  std::span<const float> read(Matrix x) override { return inner_->read(x); }
  WeightPtr load_experts(std::span<const TensorView> experts) override {
    return inner_->load_experts(experts);
  }
  void moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
           Matrix residual) override {
    inner_->moe(x, router_logits, w, routing, residual);
  }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace hopskip

#endif  // HOPSKIP_BENCH_SKIP_PLANS_FORWARDING_BACKEND_H_
