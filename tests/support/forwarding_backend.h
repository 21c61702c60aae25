// A backend that hands every operation to another one, for those that look at what passes through.
// Operations in a row (norm_linear() and its like) come one by one, so that all of them are seen.
#ifndef HOPSKIP_TESTS_SUPPORT_FORWARDING_BACKEND_H_
#define HOPSKIP_TESTS_SUPPORT_FORWARDING_BACKEND_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernels/backend.h"

namespace hopskip {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string description() const override { return inner_->description(); }
  int64_t chunk_tokens() const override { return inner_->chunk_tokens(); }
  World world() const override { return inner_->world(); }
  Matrix allocate(int64_t rows, int64_t cols, MatrixKind kind) override {
    return inner_->allocate(rows, cols, kind);
  }
  void reset_workspace() override { inner_->reset_workspace(); }
  void check_fits(std::span<const TensorView> weights) const override {
    inner_->check_fits(weights);
  }
  HostBytes host_bytes(std::span<const TensorView> weights, const KvConfig& kv) const override {
    return inner_->host_bytes(weights, kv);
  }
  WeightPtr load(const TensorView& view) override { return inner_->load(view); }
  void check_kv(const KvConfig& config) const override { inner_->check_kv(config); }
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) override {
    return inner_->make_kv_storage(config);
  }
  int64_t memory_for_kv(const KvConfig& config) const override {
    return inner_->memory_for_kv(config);
  }
  std::optional<MemoryUse> memory_use() const override { return inner_->memory_use(); }
  std::unique_ptr<Step> begin_step(const StepInputs& inputs) override {
    return inner_->begin_step(inputs);
  }
  void end_step(Step& step) override { inner_->end_step(step); }
  void embed(const Step& step, const Weight& w, Matrix y) override { inner_->embed(step, w, y); }
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) override {
    inner_->rms_norm(x, weight, eps, y);
  }
  void linear(Matrix x, std::span<const LinearTerm> terms) override { inner_->linear(x, terms); }
  void rope(const Step& step, Matrix x, int head_dim, const Rope& rope) override {
    inner_->rope(step, x, head_dim, rope);
  }
  void silu_mul(Matrix gate, Matrix up, Matrix out) override { inner_->silu_mul(gate, up, out); }
  void gather_rows(const Step& step, Matrix x, Matrix y) override {
    inner_->gather_rows(step, x, y);
  }
  void clear(Matrix x) override { inner_->clear(x); }
  void all_reduce(Matrix x) override { inner_->all_reduce(x); }
  void kv_append(Step& step, int layer, Matrix k, Matrix v) override {
    inner_->kv_append(step, layer, k, v);
  }
  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug) override {
    inner_->attention(step, shape, layer, q, out, debug);
  }
  TilePlan tile_plan(Phase phase, const AttentionShape& shape, DType kv_dtype) const override {
    return inner_->tile_plan(phase, shape, kv_dtype);
  }
  std::span<const float> read(Matrix x) override { return inner_->read(x); }
  void top_candidates(Matrix logits, Matrix out) override { inner_->top_candidates(logits, out); }
  CandidateRows read_candidates(Matrix candidates) override {
    return inner_->read_candidates(candidates);
  }
  WeightPtr load_experts(std::span<const TensorView> experts) override {
    return inner_->load_experts(experts);
  }
  void moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
           Matrix residual) override {
    inner_->moe(x, router_logits, w, routing, residual);
  }

 protected:
  Backend& inner() { return *inner_; }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace hopskip

#endif  // HOPSKIP_TESTS_SUPPORT_FORWARDING_BACKEND_H_
