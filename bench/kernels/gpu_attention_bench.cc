#include "bench/kernels/gpu_attention_bench.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "attention/reference.h"
#include "base/check.h"
#include "base/float16.h"
#include "bench/kernels/gpu_inputs.h"

namespace hopskip::bench {
namespace {

constexpr double kColdNats = 20.0;
// λ = 2^-10: below what random scores differ by in a tile, far above the cold stretches' weights.
constexpr double kThresholdLog2 = -10.0;
constexpr int kPageSize = 64;
constexpr size_t kFlushBytes = size_t{1} << 29;  // many times L2
// Of |out − exact| / |exact| of a row. Rounding weights and output to BF16 gives 0.003; a 16-key
// tile too few or too many of 128k gives 0.011.
constexpr double kTolerance = 0.008;

void cuda(cudaError_t status, const char* what) {
  check(status == cudaSuccess,
        status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDevice,
        "{}: {}", what, cudaGetErrorString(status));
}

class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes) : bytes_(bytes) {
    cuda(cudaMalloc(&data_, bytes), "cannot allocate inputs");
  }
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  void fill_zero() const { cuda(cudaMemset(data_, 0, bytes_), "cannot clear memory"); }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

class Event {
 public:
  Event() { cuda(cudaEventCreate(&event_), "cannot make an event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() { cuda(cudaEventRecord(event_), "cannot record an event"); }
  double seconds_since(const Event& start) {
    float milliseconds = 0.0f;
    cuda(cudaEventSynchronize(event_), "a kernel failed");
    cuda(cudaEventElapsedTime(&milliseconds, start.event_, event_), "cannot read an event");
    return 1e-3 * milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

float scale_of(const GpuAttentionCase& c) {
  return 1.0f / std::sqrt(static_cast<float>(c.head_dim));
}

std::string to_string(const GpuAttentionCase& c) {
  return fmt::format("{} {}/{}x{}, batch {} on {} keys, {:.0f} % cold in stretches of {}",
                     phase_name(c.phase), c.num_heads, c.num_kv_heads, c.head_dim, c.batch,
                     c.kv_len, 100.0 * c.cold_share, c.stretch);
}

AttentionConfig config_of(const GpuAttentionCase& c, int device) {
  AttentionConfig config;
  config.phase = c.phase;
  config.device = device;
  config.num_heads = c.num_heads;
  config.num_kv_heads = c.num_kv_heads;
  config.head_dim = c.head_dim;
  config.max_sequences = static_cast<int>(c.batch);
  if (c.phase == Phase::kDecode) {
    config.page_size = kPageSize;
    config.max_pages = c.batch * c.kv_len / kPageSize;
  }
  return config;
}

// Everything on the device that one case needs.
class Bench {
 public:
  explicit Bench(const GpuAttentionCase& c, int device)
      : case_(c),
        decodes_(c.phase == Phase::kDecode),
        q_rows_(decodes_ ? c.batch : c.batch * c.kv_len),
        kv_tokens_(c.batch * c.kv_len),
        q_(q_rows_ * c.num_heads * c.head_dim * sizeof(bf16)),
        out_(q_rows_ * c.num_heads * c.head_dim * sizeof(bf16)),
        k_(kv_tokens_ * c.num_kv_heads * c.head_dim * sizeof(bf16)),
        v_(kv_tokens_ * c.num_kv_heads * c.head_dim * sizeof(bf16)),
        counts_(c.batch * c.num_heads * sizeof(SkipCounts)),
        flush_(kFlushBytes),
        pages_(decodes_ ? kv_tokens_ / kPageSize : 0),
        dense_(config_of(c, device)),
        sparse_(config_of(c, device)) {
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937_64(1));
    write_inputs();
    plan(dense_, 0.0);
    plan(sparse_, static_cast<double>(c.kv_len) * std::exp2(kThresholdLog2));
  }

  GpuAttentionResult run(int repeats) {
    GpuAttentionResult result;
    judge(dense_, kDenseThresholdLog2);
    result.skipped = judge(sparse_, kThresholdLog2);
    std::vector<double> dense_times;
    std::vector<double> times;
    for (int i = 0; i < repeats; ++i) {
      dense_times.push_back(seconds(dense_));
      times.push_back(seconds(sparse_));
    }
    std::sort(dense_times.begin(), dense_times.end());
    std::sort(times.begin(), times.end());
    result.dense_seconds = dense_times[repeats / 2];
    result.seconds = times[repeats / 2];
    result.kernel = sparse_.kernel();
    result.tile_plan = sparse_.tile_plan();
    const double keys = static_cast<double>(case_.kv_len);
    const double visible = static_cast<double>(q_rows_) * (decodes_ ? keys : 0.5 * keys);
    result.flops = 4.0 * case_.num_heads * case_.head_dim * visible;
    result.bytes =
        2.0 * sizeof(bf16) * static_cast<double>(kv_tokens_) * case_.num_kv_heads * case_.head_dim;
    return result;
  }

 private:
  GpuInputs inputs(int num_heads) const {
    return {num_heads,
            case_.head_dim,
            case_.kv_len,
            case_.stretch,
            static_cast<float>(case_.cold_share),
            static_cast<float>(std::sqrt(kColdNats / scale_of(case_)))};
  }

  void write_inputs() {
    std::vector<int32_t> holds(pages_.size());  // page of memory → page of the sequences
    for (int32_t page = 0; page < std::ssize(pages_); ++page) {
      holds[pages_[page]] = page;
    }
    const DeviceMemory table(std::max<size_t>(1, holds.size()) * sizeof(int32_t));
    cuda(cudaMemcpy(table.as<int32_t>(), holds.data(), holds.size() * sizeof(int32_t),
                    cudaMemcpyHostToDevice),
         "cannot copy a table");
    const int32_t* pages = decodes_ ? table.as<int32_t>() : nullptr;
    const GpuInputs kv = inputs(case_.num_kv_heads);
    write_gpu_tensor(inputs(case_.num_heads), GpuTensor::kQ, q_rows_, q_.as<void>(), nullptr, 1,
                     nullptr);
    write_gpu_tensor(kv, GpuTensor::kK, kv_tokens_, k_.as<void>(), pages, kPageSize, nullptr);
    write_gpu_tensor(kv, GpuTensor::kV, kv_tokens_, v_.as<void>(), pages, kPageSize, nullptr);
    cuda(cudaDeviceSynchronize(), "cannot write the inputs");
  }

  void plan(Attention& attention, double factor) const {
    std::vector<PlannedSequence> sequences(case_.batch);
    const int64_t pages = case_.kv_len / kPageSize;
    for (int64_t i = 0; i < case_.batch; ++i) {
      PlannedSequence& s = sequences[i];
      s.q_len = decodes_ ? 1 : case_.kv_len;
      s.q_begin = i * s.q_len;
      s.kv_len = case_.kv_len;
      s.factor = factor;
      if (decodes_) {
        s.pages = {pages_.data() + i * pages, static_cast<size_t>(pages)};
      } else {
        s.kv_begin = i * case_.kv_len;
      }
    }
    attention.plan(sequences);
  }

  void call(const Attention& attention, SkipCounts* counts) const {
    AttentionTensors tensors;
    tensors.q = q_.as<void>();
    tensors.out = out_.as<void>();
    tensors.k = k_.as<void>();
    tensors.v = v_.as<void>();
    tensors.q_rows = q_rows_;
    tensors.kv_tokens = decodes_ ? 0 : kv_tokens_;
    tensors.num_pages = std::ssize(pages_);
    tensors.counts = counts;
    attention.run(tensors);
  }

  double seconds(const Attention& attention) {
    flush_.fill_zero();
    start_.record();
    call(attention, counts_.as<SkipCounts>());
    stop_.record();
    return stop_.seconds_since(start_);
  }

  // Runs once and compares some rows with the reference; the skipped share.
  double judge(const Attention& attention, double threshold_log2) {
    counts_.fill_zero();
    call(attention, counts_.as<SkipCounts>());
    std::vector<SkipCounts> counts(case_.batch * case_.num_heads);
    cuda(cudaMemcpy(counts.data(), counts_.as<void>(), counts.size() * sizeof(SkipCounts),
                    cudaMemcpyDeviceToHost),
         "a kernel failed");
    const int64_t q_len = decodes_ ? 1 : case_.kv_len;
    for (const auto& [sequence, head, row] :
         {std::tuple{int64_t{0}, 0, int64_t{0}}, std::tuple{int64_t{0}, 1, q_len / 3},
          std::tuple{case_.batch - 1, case_.num_heads - 1, q_len - 1}}) {
      check_row(sequence, std::min(head, case_.num_heads - 1), row, q_len, threshold_log2);
    }
    SkipCounts total;
    for (const SkipCounts& each : counts) {
      total += each;
    }
    check(case_.cold_share > 0.0 || total.skipped == 0, ErrorCode::kInternal,
          "{}: {} of {} tiles are skipped although none is cold; nothing is measured",
          to_string(case_), total.skipped, total.tiles);
    return total.sparsity();
  }

  void check_row(int64_t sequence, int head, int64_t row, int64_t q_len,
                 double threshold_log2) const {
    const int d = case_.head_dim;
    const int64_t keys = case_.kv_len - q_len + row + 1;
    const int kv_head = head / (case_.num_heads / case_.num_kv_heads);
    std::vector<float> q(d);
    std::vector<float> k(keys * d);
    std::vector<float> v(keys * d);
    const auto value = [&](GpuTensor tensor, int heads, int64_t token, int h, int i) {
      return static_cast<float>(bf16(element_at(inputs(heads), tensor, token, h, i)));
    };
    const int64_t q_row = sequence * q_len + row;
    for (int i = 0; i < d; ++i) {
      q[i] = value(GpuTensor::kQ, case_.num_heads, q_row, head, i);
      for (int64_t key = 0; key < keys; ++key) {
        const int64_t token = sequence * case_.kv_len + key;
        k[key * d + i] = value(GpuTensor::kK, case_.num_kv_heads, token, kv_head, i);
        v[key * d + i] = value(GpuTensor::kV, case_.num_kv_heads, token, kv_head, i);
      }
    }
    AttentionShape shape;
    shape.num_heads = shape.num_kv_heads = 1;
    shape.head_dim = d;
    shape.scale = scale_of(case_);
    const TilePlan plan{.rows = 1, .keys = 16, .span = 16, .seed = MaxSeed::kExact};
    const ReferenceOutput want =
        reference_attention({shape, 1, keys, q.data(), k.data(), v.data()}, plan, threshold_log2);
    std::vector<bf16> got(d);
    cuda(cudaMemcpy(got.data(), out_.as<bf16>() + (q_row * case_.num_heads + head) * d,
                    d * sizeof(bf16), cudaMemcpyDeviceToHost),
         "cannot read the output");
    double error = 0.0;
    double norm = 0.0;
    for (int i = 0; i < d; ++i) {
      error += std::pow(static_cast<double>(static_cast<float>(got[i])) - want.out[i], 2);
      norm += std::pow(want.out[i], 2);
    }
    check(std::sqrt(error / norm) < kTolerance, ErrorCode::kInternal,
          "{}: sequence {}, head {}, row {} differs from the reference by {:.2g} of its length; "
          "nothing is measured",
          to_string(case_), sequence, head, row, std::sqrt(error / norm));
  }

  GpuAttentionCase case_;
  bool decodes_;
  int64_t q_rows_;
  int64_t kv_tokens_;
  DeviceMemory q_, out_, k_, v_, counts_, flush_;
  std::vector<int32_t> pages_;  // of all sequences, one behind the other
  Attention dense_;
  Attention sparse_;
  Event start_, stop_;
};

}  // namespace

GpuAttentionResult run_gpu_attention_bench(const GpuAttentionCase& c, int device, int repeats) {
  check(c.phase == Phase::kPrefill || c.kv_len % kPageSize == 0, ErrorCode::kInvalidArgument,
        "decode takes contexts of whole pages of {} tokens, not {}", kPageSize, c.kv_len);
  cuda(cudaSetDevice(device), "cannot use the GPU");
  return Bench(c, device).run(repeats);
}

}  // namespace hopskip::bench
