#include "kernels/cuda/backend/moe.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/backend/weights.h"
#include "kernels/cuda/sm90/grouped_gemm/launch.h"
#include "kernels/cuda/sm90/moe_few/launch.h"
#include "kernels/cuda/smxx/gather_rows/launch.h"
#include "kernels/cuda/smxx/grouped_gemv/launch.h"
#include "kernels/cuda/smxx/moe_combine/launch.h"
#include "kernels/cuda/smxx/moe_few/launch.h"
#include "kernels/cuda/smxx/moe_route/launch.h"

namespace hopskip::cuda {
namespace {

// From this many rows an expert on, on average, blocks of 128 rows are worth their padding. The
// other kernel reads an expert's weights once for each 32 rows (docs/kernels/gpu_ops.md).
constexpr int64_t kBlockwiseRows = 32;
constexpr int64_t kMostExperts = 256;  // of moe_route and moe_permute
constexpr int64_t kMostChoices = 32;

int32_t* integers(Workspace& workspace, int64_t count) {
  return static_cast<int32_t*>(workspace.allocate(1, count, DType::kI32).data);
}

}  // namespace

bool CudaMoe::takes_few(int64_t tokens) { return tokens <= kMoeFewTokens; }

void CudaMoe::few(const NormedInput& in, const Weight& router, Matrix logits,
                  const ExpertWeights& w, const MoeRouting& routing, CudaStream stream) const {
  const Scratch& s = *scratch_;
  const MoeFewArgs args{.x = in.x.values(),
                        .norm = cuda_weight(*in.norm).vector(),
                        .router = cuda_weight(router).bf16(),
                        .gate = cuda_weight(*w.gate).bf16(),
                        .up = cuda_weight(*w.up).bf16(),
                        .down = cuda_weight(*w.down).bf16(),
                        .logits = logits.values(),
                        .products = s.inner.data,
                        .x_stride = in.x.stride,
                        .logits_stride = logits.stride,
                        .tokens = static_cast<int32_t>(in.x.rows),
                        .experts = static_cast<int32_t>(logits.cols),
                        .k = static_cast<int32_t>(routing.top_k),
                        .hidden = static_cast<int32_t>(in.x.cols),
                        .inner = static_cast<int32_t>(w.down->cols()),
                        .eps = in.eps,
                        .renormalise = routing.normalize};
  if (is_hopper_ && moe_few_stream_takes(args)) {
    launch_moe_few_stream(args, stream);
  } else {
    launch_moe_few(args, stream);
  }
}

void CudaMoe::reserve(int64_t tokens, int64_t hidden, int64_t inner, int64_t experts, int64_t top_k,
                      Workspace& workspace) {
  check(experts <= kMostExperts && top_k <= kMostChoices, ErrorCode::kUnsupported,
        "moe: {} of {} experts; on a GPU at most {} of {}", top_k, experts, kMostChoices,
        kMostExperts);
  check(hidden % 8 == 0 && inner % 8 == 0, ErrorCode::kUnsupported,
        "moe: experts of {} x {}; on a GPU both must be multiples of 8", inner, hidden);
  const Sizes sizes{tokens, hidden, inner, experts, top_k};
  if (scratch_ && scratch_->sizes == sizes) {
    return;
  }
  Scratch s{.sizes = sizes};
  s.by_blocks = is_hopper_ && tokens * top_k >= kBlockwiseRows * experts;
  s.block_rows = s.by_blocks ? kGroupedGemmRows : 1;
  s.max_rows =
      moe_max_rows(tokens, static_cast<int>(top_k), static_cast<int>(experts), s.block_rows);
  s.ids = integers(workspace, tokens * top_k);
  s.weights = workspace.allocate(tokens, top_k, DType::kF32).values();
  s.layout = {
      .offsets = integers(workspace, experts),
      .counts = integers(workspace, experts),
      .active = integers(workspace, experts),
      .num_active = integers(workspace, 1),
      .rows = integers(workspace, tokens * top_k),
      .row_tokens = integers(workspace, s.max_rows),
      .block_experts = s.by_blocks ? integers(workspace, s.max_rows / s.block_rows) : nullptr};
  const auto rows_of = [&](int64_t cols) {
    return workspace.allocate(s.max_rows, cols, DType::kBF16);
  };
  if (s.by_blocks) {
    s.gathered = rows_of(hidden);
  }
  s.inner = rows_of(inner);
  s.down = rows_of(hidden);
  scratch_ = s;
}

void CudaMoe::operator()(Matrix x, Matrix router_logits, const ExpertWeights& w,
                         const MoeRouting& routing, Matrix residual, CudaStream stream) const {
  const Scratch& s = *scratch_;
  const auto k = static_cast<int32_t>(routing.top_k);
  const auto experts = static_cast<int32_t>(s.sizes.experts);
  launch_moe_route({.logits = router_logits.values(),
                    .ids = s.ids,
                    .weights = s.weights,
                    .renormalise = routing.normalize,
                    .tokens = x.rows,
                    .stride = router_logits.stride,
                    .experts = experts,
                    .k = k},
                   stream);
  launch_moe_permute({.ids = s.ids,
                      .layout = s.layout,
                      .tokens = x.rows,
                      .k = k,
                      .experts = experts,
                      .block_rows = s.block_rows},
                     stream);
  const void* a = x.data;
  const int32_t* a_rows = s.layout.row_tokens;
  int64_t a_stride = x.stride;
  if (s.by_blocks) {
    launch_gather_rows({.x = x.data,
                        .out = s.gathered.data,
                        .index32 = s.layout.row_tokens,
                        .index64 = nullptr,
                        .rows = s.max_rows,
                        .cols = x.cols,
                        .x_stride = x.stride,
                        .out_stride = s.gathered.stride,
                        .element_bytes = static_cast<int32_t>(block_bytes(x.dtype))},
                       stream);
    a = s.gathered.data;
    a_rows = nullptr;
    a_stride = s.gathered.stride;
  }
  multiply(a, a_rows, a_stride, *w.gate, w.up, s.inner.data, stream);
  multiply(s.inner.data, nullptr, s.inner.stride, *w.down, nullptr, s.down.data, stream);
  launch_moe_combine({.y = s.down.data,
                      .rows = s.layout.rows,
                      .weights = s.weights,
                      .out = residual.values(),
                      .tokens = x.rows,
                      .cols = residual.cols,
                      .out_stride = residual.stride,
                      .k = k},
                     stream);
}

// c = a · wᵀ of each expert's rows; with `up`, silu(a · wᵀ) · (a · upᵀ).
void CudaMoe::multiply(const void* a, const int32_t* a_rows, int64_t a_stride, const Weight& w,
                       const Weight* up, void* c, CudaStream stream) const {
  const Scratch& s = *scratch_;
  const auto in = static_cast<int32_t>(w.cols());
  const auto out = static_cast<int32_t>(w.rows() / s.sizes.experts);
  const void* b = cuda_weight(w).bf16();
  const void* b_up = up != nullptr ? cuda_weight(*up).bf16() : nullptr;
  if (s.by_blocks) {
    launch_grouped_gemm({.a = a,
                         .b = b,
                         .b_up = b_up,
                         .c = c,
                         .block_experts = s.layout.block_experts,
                         .offsets = s.layout.offsets,
                         .counts = s.layout.counts,
                         .max_rows = s.max_rows,
                         .experts = static_cast<int32_t>(s.sizes.experts),
                         .in = in,
                         .out = out},
                        stream);
    return;
  }
  launch_grouped_gemv({.a = a,
                       .a_rows = a_rows,
                       .b = b,
                       .b_up = b_up,
                       .c = c,
                       .offsets = s.layout.offsets,
                       .counts = s.layout.counts,
                       .active = s.layout.active,
                       .num_active = s.layout.num_active,
                       .a_stride = a_stride,
                       .max_active = static_cast<int32_t>(
                           std::min(s.sizes.experts, s.sizes.tokens * s.sizes.top_k)),
                       .in = in,
                       .out = out},
                      stream);
}

}  // namespace hopskip::cuda
