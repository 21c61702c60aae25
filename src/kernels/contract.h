// The conditions that backend.h puts on callers, checked once for all backends.
#ifndef HOPSKIP_KERNELS_CONTRACT_H_
#define HOPSKIP_KERNELS_CONTRACT_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "base/check.h"
#include "kernels/backend.h"

namespace hopskip {

// A backend's own type behind an interface. Throws InvalidArgument when another backend made it.
template <typename Own, typename Interface>
Own& own_cast(Interface& object, std::string_view what) {
  Own* own = dynamic_cast<Own*>(&object);
  check(own != nullptr, ErrorCode::kInvalidArgument, "the {} was made by another backend", what);
  return *own;
}

// Each throws InvalidArgument naming the shapes that do not fit.
void check_embed(const Step& step, const Weight& w, Matrix y);
void check_rms_norm(Matrix x, const Weight& weight, Matrix y);
void check_linear(Matrix x, std::span<const LinearTerm> terms);
void check_rope(const Step& step, Matrix x, int head_dim, const Rope& rope);
void check_silu_mul(Matrix gate, Matrix up, Matrix out);
void check_norm_linear(const NormedInput& in, std::span<const LinearTerm> terms);
void check_norm_gated_linear(const NormedInput& in, const LinearTerm& gate, const LinearTerm& up);
void check_gather_rows(const Step& step, Matrix x, Matrix y);

void check_kv_config(const KvConfig& config);
// Pages cover kv_len and exist, 0 < q_len ≤ kv_len, rows do not overlap and are tokens.
void check_step(const StepInputs& inputs);

void check_kv_append(const Step& step, int layer, Matrix k, Matrix v);
void check_attention(const Step& step, const AttentionShape& shape, int layer, Matrix q,
                     Matrix out);

// Gives the number of candidates that `out` holds.
int64_t check_top_candidates(Matrix logits, Matrix out);
void check_read_candidates(Matrix candidates);

void check_moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
               Matrix residual);
// At least one, all of one shape of rank 2 and one dtype.
void check_experts(std::span<const TensorView> experts);

// Rank 1 gives [n, 1], rank 2 its shape. Throws InvalidArgument for other ranks and for rows that
// are not whole blocks, Unsupported for kI32 and kF8E4M3.
struct WeightShape {
  int64_t rows = 0;
  int64_t cols = 0;
};
WeightShape weight_shape(const TensorView& view);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CONTRACT_H_
