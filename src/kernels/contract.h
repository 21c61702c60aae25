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
void check_embed(std::span<const int32_t> ids, const Weight& w, Matrix y);
void check_rms_norm(Matrix x, const Weight& weight, Matrix y);
void check_linear(Matrix x, std::span<const LinearTerm> terms);
void check_rope(Matrix x, int head_dim, std::span<const int32_t> positions, const Rope& rope);
void check_silu_mul(Matrix gate, Matrix up, Matrix out);
void check_gather_rows(Matrix x, std::span<const int64_t> rows, Matrix y);

void check_kv_config(const KvConfig& config);
// Pages cover kv_len and exist, 0 < q_len ≤ kv_len, rows do not overlap.
void check_sequences(const KvConfig& config, std::span<const AttentionSequence> sequences);

void check_kv_append(const KvStorage& kv, int layer, const AttentionPlan& plan, Matrix k, Matrix v);
void check_attention(const AttentionShape& shape, const KvStorage& kv, int layer,
                     const AttentionPlan& plan, Matrix q, Matrix out,
                     std::span<const SkipCounts> counts);

void check_moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
               Matrix residual);
// At least one, all of one shape of rank 2 and one dtype.
void check_experts(std::span<const TensorView> experts);

// Rank 1 gives [n, 1], rank 2 its shape. Throws InvalidArgument for other ranks and for rows that
// are not whole blocks, Unsupported for kI32.
struct WeightShape {
  int64_t rows = 0;
  int64_t cols = 0;
};
WeightShape weight_shape(const TensorView& view);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CONTRACT_H_
