// Skip Softmax attention on NVIDIA GPUs, for programs that bring their own engine.
//
//   hopskip::Attention prefill({.phase = hopskip::Phase::kPrefill, .num_heads = 32,
//                               .num_kv_heads = 8, .head_dim = 128, .max_sequences = 1});
//   prefill.plan({{{.q_len = 8192, .kv_len = 8192, .factor = 600.0}}}, stream);  // once a step
//   prefill.run({.q = q, .k = k, .v = v, .out = out, …}, stream);                // once a layer
//
// Only this header and the two that it includes are needed, and the CUDA driver at run time.
#ifndef HOPSKIP_ATTENTION_H_
#define HOPSKIP_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hopskip/error.h"
#include "hopskip/types.h"

struct CUstream_st;

namespace hopskip {

// The same type as cudaStream_t and CUstream; null is the legacy default stream.
using CudaStream = CUstream_st*;

enum class ScalarType : uint8_t { kBF16, kF16, kF8E4M3 };

// What stays the same over all plans of one Attention. Sizes at the end are capacities: device
// memory for them is allocated once.
struct AttentionConfig {
  Phase phase = Phase::kPrefill;
  int device = 0;  // CUDA ordinal

  int num_heads = 0;     // query heads
  int num_kv_heads = 0;  // divides num_heads; heads [g · group, (g + 1) · group) share KV head g
  int head_dim = 0;
  ScalarType q_type = ScalarType::kBF16;  // of q and out: kBF16 or kF16
  // Of k and v: q_type, or in decode also kF8E4M3. Queries meet FP8 keys in FP16, so |q| ≤ 65504.
  ScalarType kv_type = ScalarType::kBF16;
  float scale = 0.0f;  // of the logits, > 0; 0: 1 / sqrt(head_dim)
  bool causal = true;
  int window = 0;  // keys a query sees at most, itself included; 0: all
  // Tokens of a page: 16, 32, 64 or 128. 0: k and v are contiguous, and a sequence's keys are
  // consecutive tokens.
  int page_size = 0;

  int max_sequences = 1;
  int64_t max_pages = 0;  // entries of all page tables of a plan together; 0 with page_size == 0

  // The one kernel to use, by its name in attention_candidates(); empty: the first that can run.
  std::string kernel = {};
};

// One sequence of a step. Query i stands at position kv_len − q_len + i of its sequence.
struct PlannedSequence {
  int64_t q_begin = 0;                  // its first row in q, out and lse
  int64_t q_len = 1;                    // decode: 1
  int64_t kv_len = 0;                   // keys, this step's included
  int64_t kv_begin = 0;                 // contiguous: its first token in k and v
  std::span<const int32_t> pages = {};  // paged: page p holds keys [p · page_size, …)
  double factor = 0.0;                  // of λ = min(1, factor / kv_len); 0: dense
};

// Device pointers and strides (in elements) of one call. Rows of head_dim elements are contiguous;
// q, out, k and v are 16-byte aligned and every stride is a multiple of 16 bytes. A stride of 0
// means the dense layout given in brackets.
struct AttentionTensors {
  const void* q = nullptr;  // [q rows][num_heads][head_dim]
  int64_t q_row_stride = 0;
  int64_t q_head_stride = 0;
  void* out = nullptr;  // like q
  int64_t out_row_stride = 0;
  int64_t out_head_stride = 0;
  // Paged: [num_pages][page_size][num_kv_heads][head_dim] (NHD); with strides also HND.
  // Contiguous: [kv_tokens][num_kv_heads][head_dim].
  const void* k = nullptr;
  const void* v = nullptr;
  int64_t kv_page_stride = 0;
  int64_t kv_token_stride = 0;
  int64_t kv_head_stride = 0;
  int64_t q_rows = 0;     // rows that q and out have
  int64_t kv_tokens = 0;  // contiguous: tokens that k and v have
  int64_t num_pages = 0;  // paged: pages that k and v have
  // FP8 only: what stored keys and values are multiplied with.
  float k_scale = 1.0f;
  float v_scale = 1.0f;

  // Optional outputs.
  float* lse = nullptr;  // [q rows][num_heads], natural log; −inf for a row that sees no key
  // [sequences][num_heads], added to. Heads that vote together each count their common tiles.
  SkipCounts* counts = nullptr;
  // Optional input: log2(λ) of each sequence, [sequences], read when the kernel runs, instead of
  // the plan's factors; may change between replays of a graph. Clamped to at most 0; −inf is dense,
  // and so is NaN.
  const float* threshold_log2 = nullptr;
  // For tests: which tiles were kept (1) and skipped (2), 0 elsewhere: zero it before the call. The
  // map of sequence i starts at Attention::skip_map_offset(i).
  uint8_t* skip_map = nullptr;
};

// A kernel of this machine for a configuration, with its workspace. plan() and run() of one object
// must not overlap, on the GPU either: they belong on one stream, or are ordered by the caller.
// Distinct objects are independent. Movable.
class Attention {
 public:
  // Chooses the kernel and allocates. Throws InvalidArgument naming the field, Unsupported with the
  // reason of each candidate, Device when CUDA reports an error, OutOfMemory.
  explicit Attention(const AttentionConfig& config);
  ~Attention();
  Attention(Attention&&) noexcept;
  Attention& operator=(Attention&&) noexcept;

  // What the following calls of run() compute. Everything is checked before anything is copied; the
  // copy is ordered on `stream`. A captured graph of run() follows later plans of the same object,
  // which must fit the tensors that it was captured with, and must not outlive it. Not itself to be
  // captured. Throws InvalidArgument naming the sequence and field, Device.
  void plan(std::span<const PlannedSequence> sequences, CudaStream stream = nullptr);

  // Launches the planned attention on `stream`. Allocates nothing and does not synchronise; may be
  // captured into a CUDA graph. Throws InvalidArgument for tensors that do not fit config and plan,
  // before anything is launched.
  void run(const AttentionTensors& tensors, CudaStream stream = nullptr) const;

  const AttentionConfig& config() const;
  std::string kernel() const;     // "sm90 prefill hd128 bf16"
  std::string tile_plan() const;  // of the current plan, in the notation of docs/skip-softmax.md

  // Bytes of tensors.skip_map for the current plan, and where a sequence's part begins; its layout
  // is [head tiles][row tiles][key tiles] of tile_plan().
  int64_t skip_map_bytes() const;
  int64_t skip_map_offset(int64_t sequence) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One kernel and whether it can run a configuration.
struct AttentionCandidate {
  std::string name;
  std::string why_not;  // empty: it can
};
// The kernels of the config's phase in order of preference; Attention takes the first that can run.
// Throws nothing: where no GPU is found, each line says so.
std::vector<AttentionCandidate> attention_candidates(const AttentionConfig& config);

// The GPUs of this machine, for people; empty without driver or device.
struct GpuInfo {
  int device = 0;
  std::string name;            // "NVIDIA H200"
  int compute_capability = 0;  // 90
  int64_t memory_bytes = 0;
  int multiprocessors = 0;
};
std::vector<GpuInfo> list_gpus();

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_H_
