// What a backend does that has nothing better: operations that are others in a row.
#include "kernels/backend.h"

#include "base/check.h"
#include "kernels/contract.h"

namespace hopskip {

void Backend::check_kv(const KvConfig& config) const { check_kv_config(config); }

void Backend::all_reduce(Matrix /*x*/) {
  check(world().size == 1, ErrorCode::kInternal, "{}: no sum over a world of {} ranks",
        description(), world().size);
}

void Backend::rotate_and_append(Step& step, int layer, Matrix q, Matrix k, Matrix v, int head_dim,
                                const HeadNorms& norms, const Rope& rope) {
  const auto normalise = [&](Matrix x, const Weight* norm) {
    if (norm != nullptr) {
      const Matrix heads = x.split_cols(x.cols / head_dim);
      rms_norm(heads, *norm, norms.eps, heads);
    }
  };
  normalise(q, norms.q);
  normalise(k, norms.k);
  this->rope(step, q, head_dim, rope);
  this->rope(step, k, head_dim, rope);
  kv_append(step, layer, k, v);
}

void Backend::norm_linear(const NormedInput& in, std::span<const LinearTerm> terms) {
  rms_norm(in.x, *in.norm, in.eps, in.y);
  linear(in.y, terms);
}

void Backend::norm_gated_linear(const NormedInput& in, const LinearTerm& gate,
                                const LinearTerm& up) {
  const LinearTerm both[] = {gate, up};
  norm_linear(in, both);
  silu_mul(gate.y, up.y, gate.y);
}

void Backend::norm_moe(const NormedInput& in, const Weight& router, Matrix logits,
                       const ExpertWeights& w, const MoeRouting& routing) {
  const LinearTerm term{&router, nullptr, logits};
  rms_norm(in.x, *in.norm, in.eps, in.y);  // not norm_linear(), which may leave anything in y
  linear(in.y, {&term, 1});
  moe(in.y, logits, w, routing, in.x);
}

}  // namespace hopskip
