#include "kernels/cuda/backend/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "kernels/contract.h"
#include "kernels/cuda/backend/entry.h"
#include "kernels/cuda/config_check.h"
#include "kernels/cuda/select.h"
#include "kernels/cuda/smxx/embed/launch.h"
#include "kernels/cuda/smxx/gather_rows/launch.h"
#include "kernels/cuda/smxx/kv_append/launch.h"
#include "kernels/cuda/smxx/kv_expand/launch.h"
#include "kernels/cuda/smxx/rms_norm/launch.h"
#include "kernels/cuda/smxx/rope/launch.h"
#include "kernels/cuda/smxx/rotate_append/launch.h"
#include "kernels/cuda/smxx/silu_mul/launch.h"
#include "kernels/cuda/smxx/top_candidates/launch.h"

namespace hopskip::cuda {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;

// Kinds of operations, for the signature of a graph.
enum Operation : uint64_t {
  kEmbed = 1,
  kRmsNorm,
  kLinear,
  kRope,
  kSiluMul,
  kGatherRows,
  kKvAppend,
  kAttention,
  kMoe,
  kNormLinear,
  kNormGatedLinear,
  kNormMoe,
  kRotateAppend,
  kTopCandidates,
  kClear,
};

uint64_t address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }
uint64_t address(const Weight* w) { return w == nullptr ? 0 : address(cuda_weight(*w).bf16()); }

void check_type(const char* operation, const char* name, Matrix x, DType dtype) {
  check(x.dtype == dtype, kInvalid, "{}: {} is in {}, not {}", operation, name, dtype_name(x.dtype),
        dtype_name(dtype));
}

void check_bf16(const char* operation, std::initializer_list<Matrix> matrices) {
  for (const Matrix& x : matrices) {
    check_type(operation, "a matrix", x, DType::kBF16);
  }
}

CudaStep& own(Step& step) { return own_cast<CudaStep>(step, "step"); }
const CudaStep& own(const Step& step) { return own_cast<const CudaStep>(step, "step"); }

}  // namespace

Part CudaBackend::part_of(uint64_t operation) {
  switch (operation) {
    case kAttention:
      return Part::kAttention;
    case kLinear:
    case kNormLinear:
    case kNormGatedLinear:
      return Part::kLinear;
    case kMoe:
    case kNormMoe:
      return Part::kExperts;
    default:
      return Part::kRest;
  }
}

CudaBackend::CudaBackend(const BackendOptions& options)
    : device_(options.device), pool_(options.threads) {
  const std::string reason = why_no_cuda_backend(options);
  check(reason.empty(), ErrorCode::kUnsupported, "{}", reason);
  const DeviceScope scope(device_);
  own_ = std::make_unique<Resources>(pool_, device_);
  for (const GpuInfo& gpu : list_gpus()) {
    if (gpu.device == device_) {
      description_ = fmt::format("cuda:{} ({}, compute capability {}.{})", device_, gpu.name,
                                 gpu.compute_capability / 10, gpu.compute_capability % 10);
    }
  }
}

CudaBackend::~CudaBackend() {
  int previous = 0;
  cudaGetDevice(&previous);
  cudaSetDevice(device_);
  cudaStreamSynchronize(own_->stream.get());
  own_.reset();
  cudaSetDevice(previous);
}

Matrix CudaBackend::allocate(int64_t rows, int64_t cols, MatrixKind kind) {
  const DeviceScope scope(device_);
  return own_->workspace.allocate(rows, cols,
                                  kind == MatrixKind::kExact ? DType::kF32 : DType::kBF16);
}

void CudaBackend::reset_workspace() {
  const DeviceScope scope(device_);
  own_->graphs.abandon();
  own_->moe.forget_scratch();
  own_->graphs.forget_if([&] { return own_->workspace.reset(); });
}

WeightPtr CudaBackend::load(const TensorView& view) {
  const DeviceScope scope(device_);
  return own_->loader.load(view);
}

std::unique_ptr<KvStorage> CudaBackend::make_kv_storage(const KvConfig& config) {
  check_kv(config);
  const DeviceScope scope(device_);
  return std::make_unique<CudaKvStorage>(config, own_->stream.get(), own_->kv_bytes);
}

std::unique_ptr<Step> CudaBackend::begin_step(const StepInputs& inputs) {
  check_step(inputs);
  const auto& kv = own_cast<const CudaKvStorage>(*inputs.kv, "KV storage");
  const DeviceScope scope(device_);
  const cudaStream_t stream = own_->stream.get();
  own_->graphs.abandon();
  own_->loader.free_buffers();

  const int64_t bucket = padded_tokens(inputs);
  const bool all_rows = inputs.rows.size() == inputs.tokens.size();
  const int64_t num_tokens = bucket > 0 ? bucket : std::ssize(inputs.tokens);
  const StepLayout layout(inputs, num_tokens, all_rows ? num_tokens : std::ssize(inputs.rows),
                          bucket > 0 ? bucket : std::ssize(inputs.sequences));
  auto step =
      std::make_unique<CudaStep>(inputs, layout, [graphs = &own_->graphs] { graphs->abandon(); });
  own_->graphs.forget_if([&] { return own_->steps.begin(*step, stream); });
  own_->graphs.forget_if([&] { return own_->layers.plan(*step, stream); });
  const auto key =
      bucket > 0 ? std::optional(StepKey{num_tokens, kv.id(), inputs.timed}) : std::nullopt;
  own_->graphs.begin(key);
  own_->timer.begin(inputs.timed, key,
                    own_->graphs.replays()     ? StepTimer::Mode::kReplayed
                    : own_->graphs.capturing() ? StepTimer::Mode::kCaptured
                                               : StepTimer::Mode::kLaunched);
  return step;
}

int64_t CudaBackend::padded_tokens(const StepInputs& inputs) {
  const bool decodes_only =
      std::ranges::all_of(inputs.sequences,
                          [](const AttentionSequence& s) { return s.phase == Phase::kDecode; }) &&
      inputs.sequences.size() == inputs.tokens.size();
  return decodes_only && inputs.rows.size() == inputs.tokens.size() && !inputs.reads_early
             ? decode_bucket(std::ssize(inputs.tokens))
             : 0;
}

void CudaBackend::end_step(Step& step) {
  const DeviceScope scope(device_);
  own_->graphs.end();
  step.set_seconds(own_->timer.end());
  own_->steps.end(own(step), own_->stream.get());
}

void CudaBackend::embed(const Step& step, const Weight& w, Matrix y) {
  check_embed(step, w, y);
  check_type("embed", "y", y, DType::kF32);
  const EmbedArgs args{own_->steps.input<int32_t>(own(step).layout().tokens),
                       cuda_weight(w).bf16(),
                       y.values(),
                       y.rows,
                       y.cols,
                       y.stride};
  if (own_->graphs.launches({kEmbed, address(args.table), address(args.out)})) {
    const DeviceScope scope(device_);
    launch_embed(args, own_->stream.get());
  }
}

void CudaBackend::rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) {
  check_rms_norm(x, weight, y);
  check_type("rms_norm", "y", y, DType::kBF16);
  const RmsNormArgs args{.x = x.data,
                         .weight = cuda_weight(weight).vector(),
                         .out = y.data,
                         .tokens = x.rows,
                         .x_stride = x.stride,
                         .out_stride = y.stride,
                         .heads = 1,
                         .cols = static_cast<int32_t>(x.cols),
                         .eps = eps,
                         .x_is_f32 = x.dtype == DType::kF32};
  if (own_->graphs.launches({kRmsNorm, address(args.x), address(args.weight), address(args.out),
                             static_cast<uint64_t>(args.tokens)})) {
    const DeviceScope scope(device_);
    launch_rms_norm(args, own_->stream.get());
  }
}

void CudaBackend::linear(Matrix x, std::span<const LinearTerm> terms) {
  check_linear(x, terms);
  check_bf16("linear", {x});
  bool launches = true;
  for (const LinearTerm& term : terms) {
    launches = own_->graphs.launches({kLinear, address(x.data), static_cast<uint64_t>(x.rows),
                                      address(cuda_weight(*term.w).bf16()), address(term.y.data)});
  }
  if (launches) {
    const DeviceScope scope(device_);
    own_->linear(x, terms, own_->stream.get());
  }
}

const float* CudaBackend::frequencies(const Rope& rope) {
  for (const Frequencies& known : own_->frequencies) {
    if (known.values == rope.inv_freq) {
      return reinterpret_cast<const float*>(known.memory.get());
    }
  }
  check(!own_->graphs.puts_off(), ErrorCode::kInternal,
        "a rotary embedding appears in a step whose like did not have it");
  const size_t bytes = rope.inv_freq.size() * sizeof(float);
  DeviceMemory memory = allocate_device(bytes, "rotary frequencies");
  // Host memory that is not pinned has been read when the call returns.
  check_cuda(cudaMemcpyAsync(memory.get(), rope.inv_freq.data(), bytes, cudaMemcpyHostToDevice,
                             own_->stream.get()),
             "upload rotary frequencies");
  own_->frequencies.push_back({rope.inv_freq, std::move(memory)});
  return reinterpret_cast<const float*>(own_->frequencies.back().memory.get());
}

void CudaBackend::rope(const Step& step, Matrix x, int head_dim, const Rope& rope) {
  check_rope(step, x, head_dim, rope);
  check_bf16("rope", {x});
  if (rope.inv_freq.empty()) {
    return;
  }
  const DeviceScope scope(device_);
  const RopeArgs args{.x = x.data,
                      .positions = own_->steps.input<int32_t>(own(step).layout().positions),
                      .inv_freq = frequencies(rope),
                      .tokens = x.rows,
                      .stride = x.stride,
                      .heads = static_cast<int32_t>(x.cols / head_dim),
                      .head_dim = head_dim,
                      .half = static_cast<int32_t>(rope.inv_freq.size()),
                      .magnitude = rope.magnitude,
                      .interleaved = rope.interleaved};
  if (own_->graphs.launches(
          {kRope, address(args.x), address(args.inv_freq), static_cast<uint64_t>(args.heads)})) {
    launch_rope(args, own_->stream.get());
  }
}

void CudaBackend::silu_mul(Matrix gate, Matrix up, Matrix out) {
  check_silu_mul(gate, up, out);
  check_bf16("silu_mul", {gate, up, out});
  const SiluMulArgs args{gate.data, up.data,     out.data,  gate.rows,
                         gate.cols, gate.stride, up.stride, out.stride};
  if (own_->graphs.launches({kSiluMul, address(args.gate), address(args.up), address(args.out),
                             static_cast<uint64_t>(args.rows)})) {
    const DeviceScope scope(device_);
    launch_silu_mul(args, own_->stream.get());
  }
}

void CudaBackend::gather_rows(const Step& step, Matrix x, Matrix y) {
  check_gather_rows(step, x, y);
  check(step.num_rows() == std::ssize(step.inputs().rows), kInvalid,
        "gather_rows: a padded step has nothing to gather");
  const GatherRowsArgs args{.x = x.data,
                            .out = y.data,
                            .index32 = nullptr,
                            .index64 = own_->steps.input<int64_t>(own(step).layout().rows),
                            .rows = y.rows,
                            .cols = y.cols,
                            .x_stride = x.stride,
                            .out_stride = y.stride,
                            .element_bytes = static_cast<int32_t>(block_bytes(x.dtype))};
  if (own_->graphs.launches({kGatherRows, address(args.x), address(args.out)})) {
    const DeviceScope scope(device_);
    launch_gather_rows(args, own_->stream.get());
  }
}

void CudaBackend::clear(Matrix x) {
  check_type("clear", "x", x, DType::kF32);
  if (own_->graphs.launches({kClear, address(x.data), static_cast<uint64_t>(x.rows)})) {
    const DeviceScope scope(device_);
    check_cuda(cudaMemset2DAsync(x.data, x.stride * sizeof(float), 0, x.cols * sizeof(float),
                                 x.rows, own_->stream.get()),
               "clear a matrix");
  }
}

void CudaBackend::kv_append(Step& step, int layer, Matrix k, Matrix v) {
  check_kv_append(step, layer, k, v);
  check_bf16("kv_append", {k, v});
  const auto& kv = own_cast<const CudaKvStorage>(step.kv(), "KV storage");
  const KvScale scale = kv.config().scale(layer);
  const KvAppendArgs args{.k = k.data,
                          .v = v.data,
                          .k_cache = kv.keys(layer),
                          .v_cache = kv.values(layer),
                          .slots = own_->steps.input<int64_t>(own(step).layout().slots),
                          .tokens = k.rows,
                          .k_stride = k.stride,
                          .v_stride = v.stride,
                          .cols = static_cast<int32_t>(k.cols),
                          .cache_is_fp8 = kv.config().dtype == DType::kF8E4M3,
                          .k_scale = scale.k,
                          .v_scale = scale.v};
  if (own_->graphs.launches({kKvAppend, address(args.k), address(args.v), address(args.k_cache)})) {
    const DeviceScope scope(device_);
    launch_kv_append(args, own_->stream.get());
  }
}

void CudaBackend::rotate_and_append(Step& step, int layer, Matrix q, Matrix k, Matrix v,
                                    int head_dim, const HeadNorms& norms, const Rope& rope) {
  const bool lines = std::ranges::all_of(
      std::initializer_list<Matrix>{q, k, v},
      [](const Matrix& x) { return address(x.data) % 16 == 0 && x.stride % 8 == 0; });
  if (!lines || !rotates_and_appends(head_dim, std::ssize(rope.inv_freq), rope.interleaved)) {
    Backend::rotate_and_append(step, layer, q, k, v, head_dim, norms, rope);
    return;
  }
  check_rope(step, q, head_dim, rope);
  check_kv_append(step, layer, k, v);
  check_bf16("rotate_and_append", {q, k, v});
  const auto& kv = own_cast<const CudaKvStorage>(step.kv(), "KV storage");
  const auto norm = [&](Matrix x, const Weight* weight) -> const float* {
    if (weight == nullptr) {
      return nullptr;
    }
    const Matrix heads = x.split_cols(x.cols / head_dim);
    check_rms_norm(heads, *weight, heads);
    return cuda_weight(*weight).vector();
  };
  const DeviceScope scope(device_);
  const StepLayout& layout = own(step).layout();
  const KvScale scale = kv.config().scale(layer);
  const RotateAppendArgs args{.q = q.data,
                              .k = k.data,
                              .v = v.data,
                              .q_stride = q.stride,
                              .k_stride = k.stride,
                              .v_stride = v.stride,
                              .q_norm = norm(q, norms.q),
                              .k_norm = norm(k, norms.k),
                              .positions = own_->steps.input<int32_t>(layout.positions),
                              .inv_freq = frequencies(rope),
                              .k_cache = kv.keys(layer),
                              .v_cache = kv.values(layer),
                              .slots = own_->steps.input<int64_t>(layout.slots),
                              .tokens = q.rows,
                              .q_heads = static_cast<int32_t>(q.cols / head_dim),
                              .kv_heads = static_cast<int32_t>(k.cols / head_dim),
                              .head_dim = head_dim,
                              .eps = norms.eps,
                              .magnitude = rope.magnitude,
                              .cache_is_fp8 = kv.config().dtype == DType::kF8E4M3,
                              .k_scale = scale.k,
                              .v_scale = scale.v};
  if (own_->graphs.launches({kRotateAppend, address(args.q), address(args.k), address(args.v),
                             address(args.k_cache), address(args.q_norm), address(args.k_norm),
                             address(args.inv_freq)})) {
    launch_rotate_append(args, own_->stream.get());
  }
}

void CudaBackend::attention(Step& step, const AttentionShape& shape, int layer, Matrix q,
                            Matrix out, const AttentionDebug& debug) {
  check_attention(step, shape, layer, q, out);
  check_bf16("attention", {q, out});
  check(debug.lse == nullptr && debug.maps == nullptr, ErrorCode::kUnsupported,
        "a GPU gives no debug output of attention");
  const auto& kv = own_cast<const CudaKvStorage>(step.kv(), "KV storage");
  const CudaStep& own_step = own(step);
  const DeviceScope scope(device_);
  const cudaStream_t stream = own_->stream.get();
  if (!own_->graphs.launches({kAttention, address(q.data), address(out.data),
                              address(kv.keys(layer)), static_cast<uint64_t>(shape.window)})) {
    return;
  }
  AttentionSet::Layer& attention =
      own_->layers.layer(shape, kv.config(), !own_->graphs.puts_off(), stream);
  for (Phase phase : kPhases) {
    const bool expands = phase == Phase::kPrefill && own_step.expansion().has_value();
    for (size_t i = 0; i < attention.planned[phase]; ++i) {
      const SequenceRun& run = own_step.runs()[phase][i];
      const int64_t first = own_step.first(phase) + run.begin;
      AttentionTensors tensors;
      tensors.q = q.data;
      tensors.q_row_stride = q.stride;
      tensors.out = out.data;
      tensors.out_row_stride = out.stride;
      tensors.k = kv.keys(layer);
      tensors.v = kv.values(layer);
      tensors.q_rows = q.rows;
      tensors.num_pages = kv.config().num_pages;
      tensors.counts = own_->steps.counts(own_step.layout(), layer, first);
      tensors.threshold_log2 = own_->steps.input<float>(own_step.layout().thresholds) + first;
      if (expands) {
        expand_kv(kv, own_step, run, layer, attention);
        tensors.k = kv.scratch_keys();
        tensors.v = kv.scratch_values();
        tensors.num_pages = scratch_pages(kv.config());
      } else {
        tensors.k_scale = kv.config().scale(layer).k;
        tensors.v_scale = kv.config().scale(layer).v;
      }
      attention.attention[phase][i].run(tensors, stream);
    }
  }
}

void CudaBackend::expand_kv(const CudaKvStorage& kv, const CudaStep& step, const SequenceRun& run,
                            int layer, const AttentionSet::Layer& attention) {
  const auto* pages = own_->steps.input<int32_t>(step.layout().pages);
  const int64_t page_bytes = kv.page_elements() * block_bytes(DType::kBF16);
  const KvScale scale = kv.config().scale(layer);
  for (const KvExpansion::Piece& piece :
       step.expansion()->pieces(run, attention.shape.window, attention.key_span)) {
    launch_kv_expand({.k_cache = kv.keys(layer),
                      .v_cache = kv.values(layer),
                      .k_out = kv.scratch_keys() + piece.scratch_page * page_bytes,
                      .v_out = kv.scratch_values() + piece.scratch_page * page_bytes,
                      .pages = pages + piece.first_entry,
                      .num_pages = piece.num_pages,
                      .page_elements = kv.page_elements(),
                      .k_scale = scale.k,
                      .v_scale = scale.v},
                     own_->stream.get());
  }
}

TilePlan CudaBackend::tile_plan(Phase phase, const AttentionShape& shape, DType kv_dtype) const {
  const KvConfig kv;
  const AttentionConfig config = attention_config(shape, kv_dtype, kv.page_size, phase, device_);
  cuda::validate(config);
  // In decode, what one CTA takes of the keys changes from step to step: the plan says no split.
  return select_kernel(config).tile_plan(config, 0);
}

const std::byte* CudaBackend::read_into(ReadBuffer& buffer, Matrix x) {
  check_type("read", "x", x, DType::kF32);
  check(x.stride == x.cols, kInvalid, "read: the rows are not adjacent");
  check(!own_->graphs.puts_off(), kInvalid,
        "read() before end_step() in a step that was begun without reads_early");
  const DeviceScope scope(device_);
  const size_t bytes = x.rows * x.cols * sizeof(float);
  if (bytes > buffer.bytes) {
    buffer.bytes = 0;
    buffer.memory = allocate_pinned(std::bit_ceil(bytes), "what is read from the GPU");
    buffer.bytes = std::bit_ceil(bytes);
  }
  const cudaStream_t stream = own_->stream.get();
  check_cuda(cudaMemcpyAsync(buffer.memory.get(), x.data, bytes, cudaMemcpyDeviceToHost, stream),
             "read from the GPU");
  check_cuda(cudaStreamSynchronize(stream), "run a step");
  return buffer.memory.get();
}

std::span<const float> CudaBackend::read(Matrix x) {
  return {reinterpret_cast<const float*>(read_into(own_->read, x)),
          static_cast<size_t>(x.rows * x.cols)};
}

void CudaBackend::top_candidates(Matrix logits, Matrix out) {
  const int64_t count = check_top_candidates(logits, out);
  check(logits.cols <= kMostCandidateVocab, ErrorCode::kUnsupported,
        "top_candidates: a vocabulary of {}; on a GPU at most {}", logits.cols,
        kMostCandidateVocab);
  const DeviceScope scope(device_);
  const auto vocab = static_cast<int32_t>(logits.cols);
  const Matrix scratch = own_->workspace.allocate(
      1, top_candidates_scratch_bytes(logits.rows, vocab) / int64_t{sizeof(float)}, DType::kF32);
  const TopCandidatesArgs args{.logits = logits.values(),
                               .out = out.values(),
                               .scratch = scratch.data,
                               .rows = logits.rows,
                               .stride = logits.stride,
                               .vocab = vocab,
                               .count = static_cast<int32_t>(count)};
  if (own_->graphs.launches({kTopCandidates, address(args.logits), address(args.out),
                             address(args.scratch), static_cast<uint64_t>(args.rows),
                             static_cast<uint64_t>(args.count)})) {
    launch_top_candidates(args, own_->stream.get());
  }
}

CandidateRows CudaBackend::read_candidates(Matrix candidates) {
  check_read_candidates(candidates);
  return {reinterpret_cast<const Candidate*>(read_into(own_->read_candidates, candidates)),
          candidates.rows, candidate_count(candidates.cols)};
}

WeightPtr CudaBackend::load_experts(std::span<const TensorView> experts) {
  check_experts(experts);
  const DeviceScope scope(device_);
  return own_->loader.load_experts(experts);
}

void CudaBackend::moe(Matrix x, Matrix router_logits, const ExpertWeights& w,
                      const MoeRouting& routing, Matrix residual) {
  check_moe(x, router_logits, w, routing, residual);
  check_bf16("moe", {x});
  check_type("moe", "the router's logits", router_logits, DType::kF32);
  check_type("moe", "the residual", residual, DType::kF32);
  const DeviceScope scope(device_);
  own_->moe.reserve(x.rows, x.cols, w.down->cols(), router_logits.cols, routing.top_k,
                    own_->workspace);
  if (own_->graphs.launches({kMoe, address(x.data), address(cuda_weight(*w.gate).bf16()),
                             address(residual.data), static_cast<uint64_t>(x.rows)})) {
    own_->moe(x, router_logits, w, routing, residual, own_->stream.get());
  }
}

void CudaBackend::norm_linear(const NormedInput& in, std::span<const LinearTerm> terms) {
  if (!CudaLinear::takes_norm(in)) {
    Backend::norm_linear(in, terms);
    return;
  }
  check_norm_linear(in, terms);
  bool launches = true;
  for (const LinearTerm& term : terms) {
    launches = own_->graphs.launches({kNormLinear, address(in.x.data), address(in.norm),
                                      static_cast<uint64_t>(in.x.rows), address(term.w),
                                      address(term.bias), address(term.y.data)});
  }
  if (launches) {
    const DeviceScope scope(device_);
    own_->linear.normed(in, terms, own_->stream.get());
  }
}

void CudaBackend::norm_gated_linear(const NormedInput& in, const LinearTerm& gate,
                                    const LinearTerm& up) {
  check_norm_gated_linear(in, gate, up);
  check_bf16("norm_gated_linear", {in.y, gate.y, up.y});
  const bool takes_norm = CudaLinear::takes_norm(in);
  if (!takes_norm && !CudaLinear::takes(in.y)) {
    Backend::norm_gated_linear(in, gate, up);
    return;
  }
  if (!takes_norm) {
    rms_norm(in.x, *in.norm, in.eps, in.y);
  }
  if (own_->graphs.launches({kNormGatedLinear, address(in.x.data), address(in.norm),
                             address(in.y.data), static_cast<uint64_t>(in.x.rows), address(gate.w),
                             address(up.w), address(gate.bias), address(up.bias),
                             address(gate.y.data)})) {
    const DeviceScope scope(device_);
    own_->linear.gated(in, gate, up, own_->stream.get());
  }
}

void CudaBackend::norm_moe(const NormedInput& in, const Weight& router, Matrix logits,
                           const ExpertWeights& w, const MoeRouting& routing) {
  if (!CudaLinear::takes_norm(in) || !CudaMoe::takes_few(in.x.rows)) {
    Backend::norm_moe(in, router, logits, w, routing);
    return;
  }
  const LinearTerm term{&router, nullptr, logits};
  check_norm_linear(in, {&term, 1});
  check_moe(in.y, logits, w, routing, in.x);
  check_type("moe", "the router's logits", logits, DType::kF32);
  const DeviceScope scope(device_);
  own_->moe.reserve(in.x.rows, in.x.cols, w.down->cols(), logits.cols, routing.top_k,
                    own_->workspace);
  if (own_->graphs.launches({kNormMoe, address(in.x.data), address(in.norm),
                             static_cast<uint64_t>(in.x.rows), address(&router),
                             address(logits.data), address(w.gate), address(w.up), address(w.down),
                             static_cast<uint64_t>(routing.top_k)})) {
    own_->moe.few(in, router, logits, w, routing, own_->stream.get());
  }
}

}  // namespace hopskip::cuda
