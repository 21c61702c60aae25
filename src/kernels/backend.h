// The few operations a model needs. Every backend defines all of them; the reference backend is the
// obvious version that the others are tested against.
//
// Activations are Matrices in the backend's memory, allocated from its workspace. Shapes: T =
// tokens of the step, over all its sequences.
#ifndef HOPSKIP_KERNELS_BACKEND_H_
#define HOPSKIP_KERNELS_BACKEND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attention/params.h"
#include "attention/skip_map.h"
#include "attention/tile_plan.h"
#include "hopskip/types.h"
#include "tensor/view.h"

namespace hopskip {

// A row-major activation: [rows][cols], rows `stride` elements apart. Memory belongs to the
// workspace.
struct Matrix {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  float* row(int64_t r) const { return data + r * stride; }
  // The same memory as [rows · n][cols / n]; needs stride == cols.
  Matrix split_cols(int64_t n) const { return {data, rows * n, cols / n, cols / n}; }
};

// A weight in the backend's own layout. shape: [out, in] for matrices, [n] for vectors.
class Weight {
 public:
  virtual ~Weight() = default;
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  DType dtype() const { return dtype_; }

 protected:
  Weight(int64_t rows, int64_t cols, DType dtype) : rows_(rows), cols_(cols), dtype_(dtype) {}

 private:
  int64_t rows_;
  int64_t cols_;
  DType dtype_;
};
using WeightPtr = std::unique_ptr<const Weight>;

// Paged K and V of every layer, in the backend's own layout.
struct KvConfig {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kBF16;  // kBF16 or kF16
  int page_size = 64;          // tokens a page
  int64_t num_pages = 0;

  int64_t bytes_per_page() const {
    return int64_t{2} * num_layers * num_kv_heads * head_dim * page_size * block_bytes(dtype);
  }
};
class KvStorage {
 public:
  virtual ~KvStorage() = default;
  const KvConfig& config() const { return config_; }

 protected:
  explicit KvStorage(const KvConfig& config) : config_(config) {}

 private:
  KvConfig config_;
};

// One product of a group that shares its input: y = x · wᵀ (+ bias), or y += … with accumulate.
struct LinearTerm {
  const Weight* w = nullptr;     // [out, in]
  const Weight* bias = nullptr;  // [out] or null
  Matrix y;                      // [T][out]
  bool accumulate = false;
};

// Rotary embedding: element pairs (i, i + rot/2) of each head, or (2i, 2i + 1) where interleaved,
// rotate by position · inv_freq[i]; cos and sin are scaled by `magnitude` (YaRN's attention
// factor).
struct Rope {
  std::vector<float> inv_freq;  // [rot / 2]; dimensions beyond rot pass through
  float magnitude = 1.0f;
  bool interleaved = false;
};

// Optional outputs of one attention call.
struct AttentionDebug {
  float* lse = nullptr;                  // [T][num_heads], natural log
  std::vector<SkipMap>* maps = nullptr;  // one for each sequence of the plan, replaced
};

// What a step's attention calls share: built once a step on the host, run once a layer.
class AttentionPlan {
 public:
  virtual ~AttentionPlan() = default;
  std::span<const AttentionSequence> sequences() const { return sequences_; }

 protected:
  explicit AttentionPlan(std::span<const AttentionSequence> sequences)
      : sequences_(sequences.begin(), sequences.end()) {}

 private:
  std::vector<AttentionSequence> sequences_;
};

// The matrices of a layer's E experts, each from load_experts(); H: the model's hidden size, I: an
// expert's inner size.
struct ExpertWeights {
  const Weight* gate = nullptr;  // [E · I][H]
  const Weight* up = nullptr;    // [E · I][H]
  const Weight* down = nullptr;  // [E · H][I]
};

struct MoeRouting {
  int64_t top_k = 0;      // experts of a token, 1..E
  bool normalize = true;  // the weights of a token's experts are scaled to sum to 1
};

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu (avx512_bf16, 2 threads)": what runs, for people.
  virtual std::string description() const = 0;

  // Scratch that lives until the next reset_workspace(); throws OutOfMemory. Uninitialised.
  virtual Matrix allocate(int64_t rows, int64_t cols) = 0;
  virtual void reset_workspace() = 0;

  // The view's memory must outlive the weight. Throws Unsupported for a dtype it cannot compute
  // with.
  virtual WeightPtr load(const TensorView& view) = 0;
  // Throws Unsupported for a head_dim, dtype or page size that attention cannot run with.
  virtual std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) = 0;

  // y[t] = w[ids[t]]; w [vocab, hidden]; ids are in range (the engine checks).
  virtual void embed(std::span<const int32_t> ids, const Weight& w, Matrix y) = 0;
  // y[t] = x[t] · weight / sqrt(mean(x[t]²) + eps); y may be x.
  virtual void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) = 0;
  // All terms share x [T][in].
  virtual void linear(Matrix x, std::span<const LinearTerm> terms) = 0;
  // x [T][heads · head_dim] in place; positions [T].
  virtual void rope(Matrix x, int head_dim, std::span<const int32_t> positions,
                    const Rope& rope) = 0;
  // out = silu(gate) · up, element-wise; out may be gate.
  virtual void silu_mul(Matrix gate, Matrix up, Matrix out) = 0;
  // y[i] = x[rows[i]].
  virtual void gather_rows(Matrix x, std::span<const int64_t> rows, Matrix y) = 0;

  // Attention of one step: plan once, then for each layer kv_append (k, v [T][num_kv_heads ·
  // head_dim] go to each sequence's last q_len positions) and attention. Throws InvalidArgument for
  // sequences whose pages do not cover kv_len, whose rows overlap, or with q_len > kv_len.
  virtual std::unique_ptr<AttentionPlan> plan_attention(
      const KvStorage& kv, std::span<const AttentionSequence> sequences) = 0;
  virtual void kv_append(KvStorage& kv, int layer, const AttentionPlan& plan, Matrix k,
                         Matrix v) = 0;
  // q, out [T][num_heads · head_dim]. counts [sequences][num_heads] is added to: heads that vote
  // together (tile_plan().heads) each count their common tiles.
  virtual void attention(const AttentionShape& shape, const KvStorage& kv, int layer,
                         const AttentionPlan& plan, Matrix q, Matrix out,
                         std::span<SkipCounts> counts, const AttentionDebug& debug = {}) = 0;
  // The plan attention() follows in a phase; the reference replays it.
  virtual TilePlan tile_plan(Phase phase, const AttentionShape& shape) const = 0;

  // Waits for the device, if any, and gives x as host memory, valid until reset_workspace().
  virtual std::span<const float> read(Matrix x) = 0;

  // One matrix of each of E experts, all of one shape [out, in] and dtype, as one weight for moe():
  // rows() = E · out, cols() = in. The views' memory must outlive it. Throws as load() does.
  virtual WeightPtr load_experts(std::span<const TensorView> experts) = 0;
  // Mixture of experts (arXiv 1701.06538, as in transformers' Qwen3MoeSparseMoeBlock):
  //   residual[t] += Σ_e p_e · down_e · (silu(gate_e · x[t]) ∘ (up_e · x[t]))
  // over the top_k experts e with the largest router_logits[t][e], of equal ones the first; p is
  // the softmax of router_logits[t] over all experts, in fp32, divided by its sum over the top_k
  // where routing.normalize. x, residual [T][H], apart from each other; router_logits [T][E]. The
  // choice is made where the logits are, and no caller waits for it.
  virtual void moe(Matrix x, Matrix router_logits, const ExpertWeights& w,
                   const MoeRouting& routing, Matrix residual) = 0;
};

struct BackendOptions {
  int threads = 0;  // CPU threads; 0: all
  // CPU instruction set to use: "" (the best), "avx512_bf16", "avx2", "scalar".
  std::string simd;
  // Replace the tile plan of a phase, for experiments; a kernel that cannot follow it throws.
  PerPhase<std::optional<TilePlan>> tile_plans{};
};

// A row of the table in backends.cc.
struct BackendEntry {
  std::string_view name;
  std::string_view summary;
  // Empty where it can run here, else why not. Throws InvalidArgument for options without meaning.
  std::string (*why_not)(const BackendOptions& options);
  std::unique_ptr<Backend> (*make)(const BackendOptions& options);
};
std::span<const BackendEntry> backends();

// name: "auto" (the first that runs), or one of backends(). Throws Unsupported with the reasons.
std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options = {});

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_BACKEND_H_
