// A test case on the GPU: its inputs, what a kernel made of them, and the reference's verdict.
#ifndef HOPSKIP_TESTS_PARITY_CUDA_GPU_PROBLEM_H_
#define HOPSKIP_TESTS_PARITY_CUDA_GPU_PROBLEM_H_

#include <cuda_runtime_api.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attention/reference.h"
#include "attention/skip_map.h"
#include "cases/attention_cases.h"
#include "hopskip/attention.h"

namespace hopskip::test {

void require_cuda(cudaError_t error, const char* what);  // throws

// Memory of the GPU that holds `values`.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    require_cuda(cudaMalloc(&data_, count * sizeof(T) + 1), "allocate");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    upload(values);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return static_cast<T*>(data_); }
  // Wait for all work on the GPU, whatever its stream.
  void upload(const std::vector<T>& values) {
    require_cuda(cudaDeviceSynchronize(), "finish");
    require_cuda(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice),
                 "upload");
    require_cuda(cudaDeviceSynchronize(), "upload");
  }
  std::vector<T> download() const {
    std::vector<T> values(count_);
    require_cuda(cudaDeviceSynchronize(), "finish");
    require_cuda(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost),
                 "download");
    return values;
  }

 private:
  void* data_ = nullptr;
  size_t count_;
};

// How the tensors of a case lie in memory.
enum class Layout {
  kDense,       // NHD, no gaps
  kHeadsFirst,  // pages are HND; rows of q and out have gaps
};

// Inputs of the sequences of a case that belong to one phase. Pages are shuffled over a cache in
// which whatever is not a key is NaN; rows of nobody lie between the sequences.
struct Problem {
  AttentionConfig config;
  Layout layout = Layout::kDense;
  AttentionShape shape;
  std::vector<SequenceCase> cases;
  std::vector<AttentionData> data;
  std::vector<std::vector<int32_t>> pages;
  std::vector<PlannedSequence> sequences;
  float k_scale = 1.0f;
  float v_scale = 1.0f;
  int64_t q_rows = 0;
  int64_t kv_tokens = 0;
  int64_t num_pages = 0;

  // Strides in elements.
  int64_t q_row_stride() const;
  ReferenceInput input(size_t sequence) const;
};

struct ProblemOptions {
  ScalarType q_type = ScalarType::kBF16;
  ScalarType kv_type = ScalarType::kBF16;
  Layout layout = Layout::kDense;
  uint64_t seed = 1;
  std::string kernel = {};
};

// The configuration alone, for cases that nothing may be able to run.
AttentionConfig config_of(const AttentionCase& c, Phase phase, const ProblemOptions& options);
Problem make_problem(const AttentionCase& c, Phase phase, const ProblemOptions& options);

// What one run wrote.
struct GpuResult {
  std::vector<uint16_t> out;  // [q_rows · q_row_stride]
  std::vector<float> lse;     // [q_rows][num_heads]
  std::vector<SkipCounts> counts;
  std::vector<uint8_t> skip_map;

  // Bit for bit; NaN equals itself.
  bool operator==(const GpuResult& other) const;
};

// The tensors of a problem on the GPU.
class GpuProblem {
 public:
  explicit GpuProblem(const Problem& problem);

  // Results back to their poison, counts to kInitialCounts.
  void reset(const Attention& attention);
  // threshold: log2(λ) of every sequence, instead of the plan's.
  AttentionTensors tensors(bool with_thresholds = false) const;
  void set_thresholds(const std::vector<float>& values) { thresholds_.upload(values); }
  GpuResult result() const;

 private:
  const Problem& problem_;
  DeviceArray<uint16_t> q_;
  DeviceArray<uint8_t> k_;
  DeviceArray<uint8_t> v_;
  DeviceArray<uint16_t> out_;
  DeviceArray<float> lse_;
  DeviceArray<SkipCounts> counts_;
  DeviceArray<float> thresholds_;
  std::optional<DeviceArray<uint8_t>> skip_map_;
};

// What counts hold before a run, which adds to them.
inline constexpr SkipCounts kInitialCounts{1000, 7};

// reset(), plan(), run(), result().
GpuResult run_once(Attention& attention, const Problem& problem, GpuProblem& gpu,
                   std::optional<float> threshold = std::nullopt);

// Compares with the reference, as EXPECTs; returns how many tiles were skipped. sample_tiles: of
// each sequence only so many row tiles, the first and the last among them; 0: all.
uint64_t expect_parity(const Attention& attention, const Problem& problem, const GpuResult& result,
                       int sample_tiles = 0, std::optional<float> threshold = std::nullopt);

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_PARITY_CUDA_GPU_PROBLEM_H_
