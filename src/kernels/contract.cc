#include "kernels/contract.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

void check_same_shape(const char* operation, Matrix a, Matrix b) {
  check(a.rows == b.rows && a.cols == b.cols, kInvalid, "{}: {} x {} and {} x {} shall be the same",
        operation, a.rows, a.cols, b.rows, b.cols);
}

void check_layer(const KvStorage& kv, int layer) {
  check(layer >= 0 && layer < kv.config().num_layers, kInvalid, "layer {} of {} in the KV storage",
        layer, kv.config().num_layers);
}

void check_tokens(const char* operation, const Step& step, Matrix x) {
  check(x.rows == step.num_tokens(), kInvalid, "{}: {} rows for {} tokens", operation, x.rows,
        step.num_tokens());
}

void check_sequences(const KvConfig& config, std::span<const AttentionSequence> sequences,
                     int64_t num_tokens) {
  std::vector<std::pair<int64_t, int64_t>> rows;
  for (const AttentionSequence& s : sequences) {
    check(s.q_begin >= 0 && s.q_len > 0 && s.q_len <= s.kv_len, kInvalid,
          "a sequence of {} queries from row {} on {} keys", s.q_len, s.q_begin, s.kv_len);
    check(s.q_begin <= num_tokens - s.q_len, kInvalid, "a sequence of {} queries from row {} of {}",
          s.q_len, s.q_begin, num_tokens);
    const int64_t pages = (s.kv_len - 1) / config.page_size + 1;
    check(std::ssize(s.pages) >= pages, kInvalid, "{} pages of {} tokens do not hold {} keys",
          s.pages.size(), config.page_size, s.kv_len);
    for (int32_t page : s.pages.first(pages)) {
      check(page >= 0 && page < config.num_pages, kInvalid, "page {} of {}", page,
            config.num_pages);
    }
    rows.emplace_back(s.q_begin, s.q_begin + s.q_len);
  }
  std::sort(rows.begin(), rows.end());
  for (size_t i = 1; i < rows.size(); ++i) {
    check(rows[i - 1].second <= rows[i].first, kInvalid, "two sequences share query row {}",
          rows[i].first);
  }
}

}  // namespace

void check_embed(const Step& step, const Weight& w, Matrix y) {
  check(y.rows == step.num_tokens() && y.cols == w.cols(), kInvalid,
        "embed: {} tokens of {} values do not fill {} x {}", step.num_tokens(), w.cols(), y.rows,
        y.cols);
}

void check_rms_norm(Matrix x, const Weight& weight, Matrix y) {
  check_same_shape("rms_norm", x, y);
  check(weight.rows() * weight.cols() == x.cols, kInvalid,
        "rms_norm: weight of {} x {} for {} columns", weight.rows(), weight.cols(), x.cols);
}

void check_linear(Matrix x, std::span<const LinearTerm> terms) {
  for (const LinearTerm& term : terms) {
    check(term.w != nullptr && term.w->cols() == x.cols && term.y.rows == x.rows &&
              term.y.cols == term.w->rows(),
          kInvalid, "linear: x {} x {}, w {} x {}, y {} x {}", x.rows, x.cols,
          term.w == nullptr ? 0 : term.w->rows(), term.w == nullptr ? 0 : term.w->cols(),
          term.y.rows, term.y.cols);
    check(term.bias == nullptr || term.bias->rows() * term.bias->cols() == term.w->rows(), kInvalid,
          "linear: the bias does not have {} values", term.w->rows());
  }
}

void check_rope(const Step& step, Matrix x, int head_dim, const Rope& rope) {
  check(head_dim > 0 && x.cols % head_dim == 0, kInvalid,
        "rope: {} columns are not whole heads of {}", x.cols, head_dim);
  check_tokens("rope", step, x);
  check(2 * std::ssize(rope.inv_freq) <= head_dim, kInvalid,
        "rope: {} frequencies need heads of at least {}, not {}", rope.inv_freq.size(),
        2 * rope.inv_freq.size(), head_dim);
}

void check_silu_mul(Matrix gate, Matrix up, Matrix out) {
  check_same_shape("silu_mul", gate, up);
  check_same_shape("silu_mul", gate, out);
}

void check_norm_linear(const NormedInput& in, std::span<const LinearTerm> terms) {
  check(in.norm != nullptr, kInvalid, "norm_linear: no norm");
  check_rms_norm(in.x, *in.norm, in.y);
  check_linear(in.y, terms);
  for (const LinearTerm& term : terms) {
    check(term.y.data != in.x.data, kInvalid,
          "norm_linear: a product would be written over the input that others are made of");
  }
}

void check_norm_gated_linear(const NormedInput& in, const LinearTerm& gate, const LinearTerm& up) {
  const LinearTerm both[] = {gate, up};
  check_norm_linear(in, both);
  check_same_shape("norm_gated_linear", gate.y, up.y);
  check(!gate.accumulate && !up.accumulate, kInvalid, "norm_gated_linear: it does not accumulate");
}

void check_gather_rows(const Step& step, Matrix x, Matrix y) {
  check_tokens("gather_rows", step, x);
  check(y.rows == step.num_rows() && y.cols == x.cols && y.dtype == x.dtype, kInvalid,
        "gather_rows: {} rows of {} values in {} do not fill {} x {} in {}", step.num_rows(),
        x.cols, dtype_name(x.dtype), y.rows, y.cols, dtype_name(y.dtype));
}

void check_kv_config(const KvConfig& config) {
  check(config.num_layers > 0 && config.num_kv_heads > 0 && config.head_dim > 0 &&
            config.page_size > 0 && config.num_pages >= 0,
        kInvalid, "KV storage of {} layers, {} heads of {}, {} pages of {} tokens",
        config.num_layers, config.num_kv_heads, config.head_dim, config.num_pages,
        config.page_size);
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(config.num_pages, config.bytes_per_page(), &bytes),
        ErrorCode::kOutOfMemory, "a KV cache of {} pages does not fit any memory",
        config.num_pages);
  const bool fp8 = config.dtype == DType::kF8E4M3;
  check(config.dtype == DType::kBF16 || config.dtype == DType::kF16 || fp8, ErrorCode::kUnsupported,
        "KV storage in {}: bf16, f16 and fp8 are possible", dtype_name(config.dtype));
  check(config.scales.empty() || (fp8 && std::ssize(config.scales) == config.num_layers), kInvalid,
        "KV storage in {} of {} layers with {} scales", dtype_name(config.dtype), config.num_layers,
        config.scales.size());
  for (const KvScale& scale : config.scales) {
    check(std::isfinite(scale.k) && scale.k > 0.0f && std::isfinite(scale.v) && scale.v > 0.0f,
          kInvalid, "KV scales of {} and {}: they must be positive and finite", scale.k, scale.v);
  }
}

void check_step(const StepInputs& inputs) {
  const int64_t num_tokens = std::ssize(inputs.tokens);
  check(inputs.kv != nullptr, kInvalid, "a step without KV storage");
  check(inputs.num_heads > 0, kInvalid, "a step of {} query heads", inputs.num_heads);
  check(inputs.positions.size() == inputs.tokens.size(), kInvalid,
        "a step of {} tokens with {} positions", inputs.tokens.size(), inputs.positions.size());
  check_sequences(inputs.kv->config(), inputs.sequences, num_tokens);
  int64_t last = -1;
  for (int64_t row : inputs.rows) {
    check(row > last && row < num_tokens, kInvalid,
          "row {} of {} is wanted after row {}: they must rise", row, num_tokens, last);
    last = row;
  }
}

void check_kv_append(const Step& step, int layer, Matrix k, Matrix v) {
  const KvConfig& kv = step.kv().config();
  check_layer(step.kv(), layer);
  check_same_shape("kv_append", k, v);
  check_tokens("kv_append", step, k);
  check(k.cols == int64_t{kv.num_kv_heads} * kv.head_dim, kInvalid,
        "kv_append: {} columns for {} heads of {}", k.cols, kv.num_kv_heads, kv.head_dim);
}

void check_attention(const Step& step, const AttentionShape& shape, int layer, Matrix q,
                     Matrix out) {
  const KvConfig& kv = step.kv().config();
  validate(shape);
  check_layer(step.kv(), layer);
  check(shape.num_kv_heads == kv.num_kv_heads && shape.head_dim == kv.head_dim, kInvalid,
        "attention: {} KV heads of {}, the storage has {} of {}", shape.num_kv_heads,
        shape.head_dim, kv.num_kv_heads, kv.head_dim);
  check(shape.num_heads == step.inputs().num_heads, kInvalid,
        "attention: {} heads in a step that counts {}", shape.num_heads, step.inputs().num_heads);
  check_same_shape("attention", q, out);
  check_tokens("attention", step, q);
  check(q.cols == int64_t{shape.num_heads} * shape.head_dim, kInvalid,
        "attention: {} columns for {} heads of {}", q.cols, shape.num_heads, shape.head_dim);
}

int64_t check_top_candidates(Matrix logits, Matrix out) {
  const int64_t count = candidate_count(out.cols);
  check(logits.dtype == DType::kF32 && out.dtype == DType::kF32, kInvalid,
        "top_candidates: logits in {}, candidates in {}; both must be f32",
        dtype_name(logits.dtype), dtype_name(out.dtype));
  check(out.rows == logits.rows && out.cols == candidate_cols(count) && out.stride == out.cols &&
            count >= 1 && count <= std::min(kMostCandidates, logits.cols),
        kInvalid, "top_candidates: {} x {} for candidates of {} x {} logits", out.rows, out.cols,
        logits.rows, logits.cols);
  return count;
}

void check_read_candidates(Matrix candidates) {
  check(candidates.dtype == DType::kF32 && candidates.stride == candidates.cols &&
            candidates.cols == candidate_cols(candidate_count(candidates.cols)) &&
            candidate_count(candidates.cols) >= 1,
        kInvalid, "read_candidates: {} x {} values are no candidates", candidates.rows,
        candidates.cols);
}

void check_moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
               Matrix residual) {
  check_same_shape("moe", x, residual);
  const int64_t experts = router_logits.cols;
  check(router_logits.rows == x.rows && routing.top_k >= 1 && routing.top_k <= experts, kInvalid,
        "moe: {} of {} experts for {} tokens, router logits for {}", routing.top_k, experts, x.rows,
        router_logits.rows);
  check(w.gate != nullptr && w.up != nullptr && w.down != nullptr, kInvalid,
        "moe: a weight is missing");
  const int64_t inner = w.down->cols();
  for (const Weight* in : {w.gate, w.up}) {
    check(in->rows() == experts * inner && in->cols() == x.cols, kInvalid,
          "moe: gate or up of {} x {} where {} experts of {} x {} are wanted", in->rows(),
          in->cols(), experts, inner, x.cols);
  }
  check(w.down->rows() == experts * x.cols, kInvalid,
        "moe: down of {} x {} where {} experts of {} x {} are wanted", w.down->rows(), inner,
        experts, x.cols, inner);
}

void check_experts(std::span<const TensorView> experts) {
  check(!experts.empty(), kInvalid, "load_experts: there is no expert");
  const TensorView& first = experts.front();
  for (const TensorView& view : experts) {
    check(view.rank == 2 && view.dtype == first.dtype && view.shape == first.shape, kInvalid,
          "load_experts: experts differ in shape or dtype, or are no matrices");
  }
}

WeightShape weight_shape(const TensorView& view) {
  check(view.rank == 1 || view.rank == 2, kInvalid, "a weight of rank {}: 1 or 2 is possible",
        view.rank);
  check(view.dtype != DType::kI32 && view.dtype != DType::kF8E4M3, ErrorCode::kUnsupported,
        "a weight of dtype {}", dtype_name(view.dtype));
  check(view.shape[view.rank - 1] % block_elements(view.dtype) == 0, kInvalid,
        "rows of {} values are not whole blocks of {}", view.shape[view.rank - 1],
        dtype_name(view.dtype));
  return {view.shape[0], view.rank == 2 ? view.shape[1] : 1};
}

}  // namespace hopskip
