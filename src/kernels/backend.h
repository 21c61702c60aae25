// The few operations a model needs. Every backend defines all of them; the reference backend is the
// obvious version that the others are tested against.
//
// Activations are Matrices in the backend's memory, allocated from its workspace. Shapes: T =
// Step::num_tokens(), S = sequences of the step.
#ifndef HOPSKIP_KERNELS_BACKEND_H_
#define HOPSKIP_KERNELS_BACKEND_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attention/params.h"
#include "attention/skip_map.h"
#include "attention/tile_plan.h"
#include "hopskip/types.h"
#include "kernels/candidates.h"
#include "tensor/view.h"

namespace hopskip {

// What the values of a matrix are for: it decides their type.
enum class MatrixKind : uint8_t {
  kActivation,  // the backend's own type: F32 on the host, BF16 on a GPU
  kExact,       // F32 everywhere: the residual stream, router logits, logits
};

// A row-major activation: [rows][cols], rows `stride` elements apart. Memory belongs to the
// workspace.
struct Matrix {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  DType dtype = DType::kF32;  // kF32 or kBF16

  // F32 only, and to be read and written on the host where the backend's memory is there.
  float* values() const { return static_cast<float*>(data); }
  float* row(int64_t r) const { return values() + r * stride; }

  // Rows [begin, begin + count).
  Matrix row_range(int64_t begin, int64_t count) const {
    std::byte* first = static_cast<std::byte*>(data) + row_bytes(dtype, begin * stride);
    return {first, count, cols, stride, dtype};
  }
  // The same memory as [rows · n][cols / n]; needs stride == cols.
  Matrix split_cols(int64_t n) const { return {data, rows * n, cols / n, cols / n, dtype}; }
};

// A weight in the backend's own layout. shape: [out, in] for matrices, [n] for vectors.
class Weight {
 public:
  virtual ~Weight() = default;
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  DType dtype() const { return dtype_; }
  // Everything has been read from the view that load() was given: its memory is free to go.
  virtual bool is_copy() const { return false; }

 protected:
  Weight(int64_t rows, int64_t cols, DType dtype) : rows_(rows), cols_(cols), dtype_(dtype) {}

 private:
  int64_t rows_;
  int64_t cols_;
  DType dtype_;
};
using WeightPtr = std::unique_ptr<const Weight>;

// What a layer's stored FP8 keys and values are multiplied with. Stored is x · (1 / scale), all in
// fp32, rounded to E4M3 and held within ±448.
struct KvScale {
  float k = 1.0f;
  float v = 1.0f;
};

// Paged K and V of every layer, in the backend's own layout.
struct KvConfig {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kBF16;  // kBF16, kF16 or kF8E4M3
  int page_size = 64;          // tokens a page
  int64_t num_pages = 0;
  int64_t context = 0;               // tokens of the longest sequence; 0: what the pages hold
  std::vector<KvScale> scales = {};  // kF8E4M3: of each layer; empty: all 1

  KvScale scale(int layer) const { return scales.empty() ? KvScale{} : scales[layer]; }
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
  Matrix y;                      // [n][out]; exact where it accumulates
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

// Optional outputs of one attention call, for tests on the host; a GPU refuses them (Unsupported).
struct AttentionDebug {
  float* lse = nullptr;                  // [T][num_heads], natural log
  std::vector<SkipMap>* maps = nullptr;  // one for each sequence of the step, replaced
};

// What a step's time goes to:
//   attention  attention() alone
//   linear     linear(), the router of experts included; where a backend has norm_linear() and
//              norm_gated_linear(), all of them, norm and activation included
//   experts    moe(); where a backend has norm_moe(), all of it, norm and router included
//   rest       embedding, other norms, rotary embedding, appending to the cache, activations
enum class Part : uint8_t { kAttention, kLinear, kExperts, kRest };
inline constexpr std::array<Part, 4> kParts{Part::kAttention, Part::kLinear, Part::kExperts,
                                            Part::kRest};

inline std::string_view part_name(Part part) {
  constexpr std::array<std::string_view, kParts.size()> kNames{"attention", "linear", "experts",
                                                               "rest"};
  return kNames[static_cast<size_t>(part)];
}

struct PartSeconds {
  std::array<double, kParts.size()> seconds{};

  double& operator[](Part part) { return seconds[static_cast<size_t>(part)]; }
  double operator[](Part part) const { return seconds[static_cast<size_t>(part)]; }
  double total() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }
  PartSeconds& operator+=(const PartSeconds& other) {
    for (Part part : kParts) {
      (*this)[part] += other[part];
    }
    return *this;
  }
};

// One step over a ragged batch. What the spans show must outlive the step.
struct StepInputs {
  std::span<const int32_t> tokens;               // below the vocabulary (the engine checks)
  std::span<const int32_t> positions;            // one for each token
  std::span<const AttentionSequence> sequences;  // [S], each with rows of its own among the tokens
  std::span<const int64_t> rows;                 // tokens whose hidden state is wanted, rising
  KvStorage* kv = nullptr;                       // K and V of the step are appended to it
  int num_heads = 0;                             // query heads, for the skip counts
  // read() is called before end_step(), so nothing may be put off until then.
  bool reads_early = false;
  // Measures Step::seconds(). This costs time: a clock is read, or an event recorded, wherever one
  // part gives way to another, and end_step() waits for the device.
  bool timed = false;
};

// What the operations of a step share. A step may be padded: its matrices then have more rows than
// there are tokens, the last ones hold anything, and K, V and the outputs of the sequences do not
// depend on them.
class Step {
 public:
  virtual ~Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  const StepInputs& inputs() const { return inputs_; }
  std::span<const AttentionSequence> sequences() const { return inputs_.sequences; }
  KvStorage& kv() const { return *inputs_.kv; }

  // Rows of the step's matrices, T: the tokens given or, padded, more.
  int64_t num_tokens() const { return num_tokens_; }
  // Rows that gather_rows() gives: those wanted or, padded, more. num_tokens() where each token's
  // row is wanted: then there is nothing to gather.
  int64_t num_rows() const { return num_rows_; }

  // [num_layers][S][num_heads]: tiles that attention visited and skipped. After end_step(); waits
  // for the device, if any. Heads that vote together (tile_plan().heads) each count their common
  // tiles.
  virtual std::span<const SkipCounts> counts() const = 0;
  // Of a timed step, after end_step(): what each part took where it ran, from the first operation
  // to the end of the last. Waiting in between, e.g. of a device for its host, counts with the part
  // before. Zeros for other steps.
  const PartSeconds& seconds() const { return seconds_; }
  void set_seconds(const PartSeconds& seconds) { seconds_ = seconds; }  // by the backend

 protected:
  Step(const StepInputs& inputs, int64_t num_tokens, int64_t num_rows)
      : inputs_(inputs), num_tokens_(num_tokens), num_rows_(num_rows) {}

 private:
  StepInputs inputs_;
  int64_t num_tokens_;
  int64_t num_rows_;
  PartSeconds seconds_;
};

// Bytes of a device's memory that are in use.
struct MemoryUse {
  int64_t weights = 0;
  int64_t kv_cache = 0;
  // Whatever else is in use there: scratch, graphs, the driver, other programs.
  int64_t rest = 0;
};

// Of the host's memory, bytes.
struct HostBytes {
  int64_t weights = 0;
  int64_t kv_cache = 0;
  // Of files that are mapped and stay in use. The system counts these pages as free: they can be
  // read again, which every step would then wait for.
  int64_t mapped = 0;
};

// The matrices of a layer's E experts, each from load_experts(); H: the model's hidden size, I: an
// expert's inner size.
struct ExpertWeights {
  const Weight* gate = nullptr;  // [E · I][H]
  const Weight* up = nullptr;    // [E · I][H]
  const Weight* down = nullptr;  // [E · H][I]
};

// The input of a block of a layer: an RMS norm of the residual stream.
struct NormedInput {
  Matrix x;                      // exact
  const Weight* norm = nullptr;  // [cols]
  float eps = 0.0f;
  Matrix y;  // an activation of x's shape: scratch, which may hold anything afterwards
};

// Norms of the heads of q and k (as in transformers' Qwen3Attention), [head_dim] each; null: none.
struct HeadNorms {
  const Weight* q = nullptr;
  const Weight* k = nullptr;
  float eps = 0.0f;
};

struct MoeRouting {
  int64_t top_k = 0;      // experts of a token, 1..E
  bool normalize = true;  // the weights of a token's experts are scaled to sum to 1
};

// Processes or threads that compute one model together, each with a backend and a share of the
// weights of its own (docs/architecture.md, "Sharding").
struct World {
  int rank = 0;  // this backend's, below size
  int size = 1;

  // One rank carries what is to be counted once: the residual stream and the biases of sums.
  bool is_first() const { return rank == 0; }
};

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu (avx512_bf16, 2 threads)": what runs, for people.
  virtual std::string description() const = 0;
  // The same for as long as the backend lives.
  virtual World world() const { return {}; }

  // Tokens of a step at which long prompts are fast and decoding sequences do not wait long, for
  // those who do not choose.
  virtual int64_t chunk_tokens() const { return 2048; }

  // Scratch that lives until the next reset_workspace(); throws OutOfMemory. Uninitialised. Equal
  // calls after a reset give equal memory, so that a backend can replay a step.
  virtual Matrix allocate(int64_t rows, int64_t cols, MatrixKind kind) = 0;
  virtual void reset_workspace() = 0;

  // Before a model is loaded: throws OutOfMemory, with the numbers, where a device with memory of
  // its own has no room for these tensors.
  virtual void check_fits(std::span<const TensorView> /*weights*/) const {}
  // What load() of these tensors and make_kv_storage() would take of the host's memory. Zeros for a
  // device with memory of its own.
  virtual HostBytes host_bytes(std::span<const TensorView> /*weights*/,
                               const KvConfig& /*kv*/) const {
    return {};
  }
  // The view's memory must outlive the weight, unless that is a copy; of a random view, the weight
  // holds the values. Throws Unsupported for a dtype it cannot compute with.
  virtual WeightPtr load(const TensorView& view) = 0;
  // Throws Unsupported for a head_dim, dtype or page size that attention cannot run with,
  // InvalidArgument for numbers that mean nothing. Takes no memory. Unless it is overridden: what
  // no backend can have.
  virtual void check_kv(const KvConfig& config) const;
  // Throws as check_kv() does, and OutOfMemory.
  virtual std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) = 0;
  // Bytes that the pages of such a KV storage may take now (its num_pages is not looked at), of a
  // device whose memory is there to be used up: to be asked once weights are loaded and a large
  // step has run. 0: it is not, as on the host.
  virtual int64_t memory_for_kv(const KvConfig& /*config*/) const { return 0; }
  // Nothing: the backend does not keep count, as on the host.
  virtual std::optional<MemoryUse> memory_use() const { return std::nullopt; }

  // A step: begin_step() checks its inputs and brings them to the device, then come operations, and
  // end_step() starts whatever of them was put off. One step at a time; one that is destroyed
  // before its end leaves its results undefined. A backend may replay the operations of an earlier
  // step of the same size: a caller does the same, in the same order and with the same matrices,
  // for both. Throws InvalidArgument for sequences whose pages do not cover kv_len, whose rows
  // overlap or lie outside the tokens, or with q_len > kv_len.
  virtual std::unique_ptr<Step> begin_step(const StepInputs& inputs) = 0;
  virtual void end_step(Step& step) = 0;

  // y[t] = w[tokens[t]]; w [vocab, hidden]; y exact.
  virtual void embed(const Step& step, const Weight& w, Matrix y) = 0;
  // y[t] = x[t] · weight / sqrt(mean(x[t]²) + eps); y is an activation and may be x.
  virtual void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) = 0;
  // All terms share x [n][in], an activation.
  virtual void linear(Matrix x, std::span<const LinearTerm> terms) = 0;
  // x [T][heads · head_dim], an activation, in place.
  virtual void rope(const Step& step, Matrix x, int head_dim, const Rope& rope) = 0;
  // out = silu(gate) · up, element-wise, of activations; out may be gate.
  virtual void silu_mul(Matrix gate, Matrix up, Matrix out) = 0;
  // y[i] = x[rows[i]] for the rows that are wanted; x [T], y [num_rows()].
  virtual void gather_rows(const Step& step, Matrix x, Matrix y) = 0;
  // x = 0; x exact.
  virtual void clear(Matrix x) = 0;
  // Exact x becomes its sum over the ranks of the world, to the bit the same on each: what they
  // decide by it, such as the experts of a token, they decide alike. All ranks call it in the same
  // order, with matrices of one shape. Unless it is overridden: nothing, for a world of one.
  virtual void all_reduce(Matrix x);

  // For each layer: k, v [T][num_kv_heads · head_dim] go to each sequence's last q_len positions …
  virtual void kv_append(Step& step, int layer, Matrix k, Matrix v) = 0;
  // … which this does, too, after it has normalised each head of q and k (rms_norm), where
  // there are norms, and rotated q and k (rope); q [T][heads · head_dim] in place, k may hold
  // anything afterwards. Unless it is overridden: those operations one by one. Then comes …
  virtual void rotate_and_append(Step& step, int layer, Matrix q, Matrix k, Matrix v, int head_dim,
                                 const HeadNorms& norms, const Rope& rope);
  // … out = attention of q over the cache; q, out [T][num_heads · head_dim], activations.
  virtual void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                         const AttentionDebug& debug = {}) = 0;
  // The plan attention() follows in a phase over such K and V; the reference replays it.
  virtual TilePlan tile_plan(Phase phase, const AttentionShape& shape, DType kv_dtype) const = 0;

  // Waits for the device, if any, and gives exact x, whose rows are adjacent, as host memory, valid
  // until the next read() or reset_workspace().
  virtual std::span<const float> read(Matrix x) = 0;

  // The `count` largest of each row of exact logits [n][vocab] in order (candidates.h), and its sum
  // of exponentials: out, exact, [n][candidate_cols(count)], rows adjacent. NaN is ordered as −inf.
  // 1 ≤ count ≤ kMostCandidates, and no more than vocab. Throws Unsupported for a vocabulary it is
  // too large for.
  virtual void top_candidates(Matrix logits, Matrix out) = 0;
  // Waits for the device, if any, and gives what top_candidates() filled, valid until the next
  // read_candidates() or reset_workspace().
  virtual CandidateRows read_candidates(Matrix candidates) = 0;

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

  // Operations in a row, which a GPU does in fewer launches where there are few tokens. Unless they
  // are overridden: rms_norm() to in.y, then …
  // … linear() of in.y.
  virtual void norm_linear(const NormedInput& in, std::span<const LinearTerm> terms);
  // … linear() of both and silu_mul() to gate.y. Activations of one shape, without accumulate; up.y
  // is scratch.
  virtual void norm_gated_linear(const NormedInput& in, const LinearTerm& gate,
                                 const LinearTerm& up);
  // … linear() with the router [E][H] to `logits`, exact [T][E], which is scratch, and moe() of
  // in.y; the residual stream is in.x.
  virtual void norm_moe(const NormedInput& in, const Weight& router, Matrix logits,
                        const ExpertWeights& w, const MoeRouting& routing);
};

struct BackendOptions {
  int threads = 0;  // CPU threads; 0: all
  int device = 0;   // CUDA ordinal; the other backends have no use for it
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

// name: "auto" (the first that runs), one of backends(), or "cuda:N", which sets options.device.
// Throws InvalidArgument for another name, Unsupported with the reasons where none runs.
std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options = {});

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_BACKEND_H_
