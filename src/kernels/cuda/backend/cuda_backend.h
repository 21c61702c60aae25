// The backend for NVIDIA GPUs from compute capability 8.0 on: activations in BF16, K and V
// in BF16 or FP8, the residual stream and logits in F32. Operations are launched on one stream; a
// step that decodes only is padded, captured and replayed (step_graphs.h).
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_CUDA_BACKEND_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_CUDA_BACKEND_H_

#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cuda/backend/attention_set.h"
#include "kernels/cuda/backend/handles.h"
#include "kernels/cuda/backend/kv_storage.h"
#include "kernels/cuda/backend/linear.h"
#include "kernels/cuda/backend/moe.h"
#include "kernels/cuda/backend/step_graphs.h"
#include "kernels/cuda/backend/step_memory.h"
#include "kernels/cuda/backend/step_timer.h"
#include "kernels/cuda/backend/weights.h"
#include "kernels/cuda/backend/workspace.h"

namespace hopskip::cuda {

class CudaBackend final : public Backend {
 public:
  // Throws Unsupported where why_no_cuda_backend() has a reason, OutOfMemory, Device.
  explicit CudaBackend(const BackendOptions& options);
  ~CudaBackend() override;

  std::string description() const override { return description_; }
  int64_t chunk_tokens() const override { return 8192; }
  Matrix allocate(int64_t rows, int64_t cols, MatrixKind kind) override;
  void reset_workspace() override;

  void check_fits(std::span<const TensorView> weights) const override;
  WeightPtr load(const TensorView& view) override;
  void check_kv(const KvConfig& config) const override;
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) override;
  int64_t memory_for_kv(const KvConfig& config) const override;
  std::optional<MemoryUse> memory_use() const override;

  std::unique_ptr<Step> begin_step(const StepInputs& inputs) override;
  void end_step(Step& step) override;

  void embed(const Step& step, const Weight& w, Matrix y) override;
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) override;
  void linear(Matrix x, std::span<const LinearTerm> terms) override;
  void rope(const Step& step, Matrix x, int head_dim, const Rope& rope) override;
  void silu_mul(Matrix gate, Matrix up, Matrix out) override;
  void gather_rows(const Step& step, Matrix x, Matrix y) override;
  void clear(Matrix x) override;

  void kv_append(Step& step, int layer, Matrix k, Matrix v) override;
  void rotate_and_append(Step& step, int layer, Matrix q, Matrix k, Matrix v, int head_dim,
                         const HeadNorms& norms, const Rope& rope) override;
  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug) override;
  TilePlan tile_plan(Phase phase, const AttentionShape& shape, DType kv_dtype) const override;

  std::span<const float> read(Matrix x) override;

  void top_candidates(Matrix logits, Matrix out) override;
  CandidateRows read_candidates(Matrix candidates) override;

  WeightPtr load_experts(std::span<const TensorView> experts) override;
  void moe(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
           Matrix residual) override;

  void norm_linear(const NormedInput& in, std::span<const LinearTerm> terms) override;
  void norm_gated_linear(const NormedInput& in, const LinearTerm& gate,
                         const LinearTerm& up) override;
  void norm_moe(const NormedInput& in, const Weight& router, Matrix logits, const ExpertWeights& w,
                const MoeRouting& routing) override;

 private:
  // Frequencies in GPU memory.
  struct Frequencies {
    std::vector<float> values;
    DeviceMemory memory;
  };
  const float* frequencies(const Rope& rope);
  // Copies what a run of prefill sequences sees of an FP8 layer to the storage's scratch.
  void expand_kv(const CudaKvStorage& kv, const CudaStep& step, const SequenceRun& run, int layer,
                 const AttentionSet::Layer& attention);
  // Of an operation's kind, the first value that StepGraphs::launches() is given.
  static Part part_of(uint64_t operation);
  // Pinned memory that grows with what is read.
  struct ReadBuffer {
    PinnedMemory memory;
    size_t bytes = 0;
  };
  // Waits for the stream; the matrix's bytes, valid until the next use of the buffer.
  const std::byte* read_into(ReadBuffer& buffer, Matrix x);
  // This step's place among those that graphs serve; nothing: it is not one.
  static int64_t padded_tokens(const StepInputs& inputs);

  const int device_;
  std::string description_;
  ThreadPool pool_;  // for loading weights
  // The members below are made and destroyed with the device current.
  struct Resources {
    Resources(ThreadPool& pool, int device)
        : stream(make_stream()),
          loader(pool, stream.get()),
          timer(stream.get(), device),
          graphs(stream.get(), [this](uint64_t operation) { timer.enter(part_of(operation)); }),
          layers(device),
          linear(gpu_properties(device).compute_capability == 90),
          moe(gpu_properties(device).compute_capability == 90) {}

    Stream stream;
    WeightLoader loader;
    Workspace workspace;
    StepMemory steps;
    ByteCount kv_bytes = std::make_shared<int64_t>(0);
    // Graphs name events of the timer: they go first.
    StepTimer timer;
    StepGraphs graphs;
    AttentionSet layers;
    CudaLinear linear;
    CudaMoe moe;
    std::list<Frequencies> frequencies;
    ReadBuffer read, read_candidates;
  };
  std::unique_ptr<Resources> own_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_CUDA_BACKEND_H_
