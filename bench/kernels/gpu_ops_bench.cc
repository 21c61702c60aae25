// Measures the GPU kernels of a model's step other than attention, each alone. Prints a table:
// microseconds of one call after everything was driven out of L2 with the rate that this is, and of
// a call among many in a graph, where small inputs come from L2.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "kernels/cuda/sm90/gemv/launch.h"
#include "kernels/cuda/sm90/grouped_gemm/launch.h"
#include "kernels/cuda/sm90/moe_few/launch.h"
#include "kernels/cuda/smxx/embed/launch.h"
#include "kernels/cuda/smxx/gather_rows/launch.h"
#include "kernels/cuda/smxx/gemv/launch.h"
#include "kernels/cuda/smxx/grouped_gemv/launch.h"
#include "kernels/cuda/smxx/kv_append/launch.h"
#include "kernels/cuda/smxx/kv_expand/launch.h"
#include "kernels/cuda/smxx/moe_combine/launch.h"
#include "kernels/cuda/smxx/moe_few/launch.h"
#include "kernels/cuda/smxx/moe_permute/launch.h"
#include "kernels/cuda/smxx/moe_route/launch.h"
#include "kernels/cuda/smxx/rms_norm/launch.h"
#include "kernels/cuda/smxx/rope/launch.h"
#include "kernels/cuda/smxx/silu_mul/launch.h"
#include "kernels/cuda/smxx/top_candidates/launch.h"

namespace hopskip::cuda {
namespace {

constexpr int64_t kTokens[] = {1, 64, 8192};
constexpr int kRepeats = 9;
constexpr int kInGraph = 10;
constexpr size_t kFlushBytes = size_t{1} << 28;  // several times L2

void cuda(cudaError_t status, const char* what) {
  check(status == cudaSuccess, ErrorCode::kDevice, "{}: {}", what, cudaGetErrorString(status));
}

// Random values of deviation about 0.5; long ones repeat.
template <typename T>
class Values {
 public:
  explicit Values(int64_t count) : count_(count) {
    constexpr int64_t kDrawn = int64_t{1} << 20;
    cuda(cudaMalloc(&data_, count * sizeof(T)), "cannot allocate inputs");
    std::vector<T> drawn(std::min(count, kDrawn));
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.5f);
    for (T& value : drawn) {
      value = T(normal(random));
    }
    for (int64_t at = 0; at < count; at += kDrawn) {
      set(drawn, at);
    }
  }
  explicit Values(const std::vector<T>& values) : count_(std::ssize(values)) {
    cuda(cudaMalloc(&data_, count_ * sizeof(T)), "cannot allocate inputs");
    set(values, 0);
  }
  ~Values() { cudaFree(data_); }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

  T* get() const { return static_cast<T*>(data_); }
  std::vector<T> download() const {
    std::vector<T> values(count_);
    cuda(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost),
         "a kernel failed");
    return values;
  }

 private:
  void set(const std::vector<T>& values, int64_t at) {
    const int64_t count = std::min<int64_t>(std::ssize(values), count_ - at);
    cuda(cudaMemcpy(get() + at, values.data(), count * sizeof(T), cudaMemcpyHostToDevice),
         "cannot write inputs");
  }
  int64_t count_;
  void* data_ = nullptr;
};

using Bf16s = Values<bf16>;
using Floats = Values<float>;
using Ints = Values<int32_t>;

class Meter {
 public:
  Meter() : flush_(kFlushBytes / sizeof(float)) {
    cuda(cudaStreamCreate(&stream_), "cannot make a stream");
    cuda(cudaEventCreate(&start_), "cannot make an event");
    cuda(cudaEventCreate(&stop_), "cannot make an event");
    fmt::print("{:<15} {:>6} {:<24} {:>10} {:>9} {:>8} {:>10}\n", "kernel", "tokens", "case",
               "cold us", "GB/s", "TFLOP/s", "in graph");
  }

  // bytes: read and written once; flops may be 0.
  void measure(const std::string& kernel, int64_t tokens, const std::string& what, double bytes,
               double flops, const std::function<void(CudaStream)>& launch) {
    launch(stream_);
    std::vector<double> times;
    for (int i = 0; i < kRepeats; ++i) {
      cuda(cudaMemsetAsync(flush_.get(), i, kFlushBytes, stream_), "cannot flush");
      times.push_back(seconds([&] { launch(stream_); }));
    }
    std::sort(times.begin(), times.end());
    const double cold = times[kRepeats / 2];
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t instance = nullptr;
    cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cannot capture");
    for (int i = 0; i < kInGraph; ++i) {
      launch(stream_);
    }
    cuda(cudaStreamEndCapture(stream_, &graph), "cannot capture");
    cuda(cudaGraphInstantiate(&instance, graph, 0), "cannot instantiate");
    double in_graph = 1e9;
    for (int i = 0; i < 3; ++i) {
      in_graph = std::min(in_graph, seconds([&] { cudaGraphLaunch(instance, stream_); }));
    }
    cudaGraphExecDestroy(instance);
    cudaGraphDestroy(graph);
    fmt::print("{:<15} {:>6} {:<24} {:>10.2f} {:>9.0f} {:>8.1f} {:>10.2f}\n", kernel, tokens, what,
               1e6 * cold, 1e-9 * bytes / cold, 1e-12 * flops / cold, 1e6 * in_graph / kInGraph);
  }

 private:
  double seconds(const std::function<void()>& work) {
    cuda(cudaEventRecord(start_, stream_), "cannot record");
    work();
    cuda(cudaEventRecord(stop_, stream_), "cannot record");
    cuda(cudaEventSynchronize(stop_), "a kernel failed");
    float milliseconds = 0.0f;
    cuda(cudaEventElapsedTime(&milliseconds, start_, stop_), "cannot read an event");
    return 1e-3 * milliseconds;
  }

  Floats flush_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t start_ = nullptr;
  cudaEvent_t stop_ = nullptr;
};

std::vector<int32_t> random_ints(int64_t count, int32_t below) {
  std::mt19937 random(2);
  std::vector<int32_t> values(count);
  for (int32_t& value : values) {
    value = std::uniform_int_distribution<int32_t>(0, below - 1)(random);
  }
  return values;
}

void measure_elementwise(Meter& meter, int64_t tokens, int hidden) {
  constexpr int kVocab = 151936;
  constexpr int kHeadDim = 128;
  const int heads = hidden / 64;  // 32 at 2048
  const int kv_cols = 8 * kHeadDim;
  const auto n = static_cast<double>(tokens * hidden);
  const std::string what = fmt::format("hidden {}", hidden);
  const Floats residual(tokens * hidden);
  const Floats weight(hidden);
  const Bf16s x(tokens * heads * kHeadDim);
  const Bf16s y(tokens * 3 * hidden);
  const Bf16s z(tokens * 3 * hidden);
  const Ints ids(random_ints(tokens, kVocab));
  const Ints positions(random_ints(tokens, 1 << 17));
  const Floats inv_freq(kHeadDim / 2);
  meter.measure("rms_norm", tokens, what, 6.0 * n, 0, [&](CudaStream stream) {
    launch_rms_norm(
        {residual.get(), weight.get(), y.get(), tokens, hidden, hidden, 1, hidden, 1e-6f, true},
        stream);
  });
  const double head_bytes = 4.0 * static_cast<double>(tokens) * heads * kHeadDim;
  meter.measure("rms_norm", tokens, fmt::format("{} heads of 128", heads), head_bytes, 0,
                [&](CudaStream stream) {
                  launch_rms_norm({x.get(), weight.get(), x.get(), tokens, heads * kHeadDim,
                                   heads * kHeadDim, heads, kHeadDim, 1e-6f, false},
                                  stream);
                });
  meter.measure("rope", tokens, fmt::format("{} heads of 128", heads), head_bytes, 0,
                [&](CudaStream stream) {
                  launch_rope({x.get(), positions.get(), inv_freq.get(), tokens, heads * kHeadDim,
                               heads, kHeadDim, kHeadDim / 2, 1.0f, false},
                              stream);
                });
  meter.measure(
      "silu_mul", tokens, fmt::format("cols {}", 3 * hidden), 18.0 * n, 0, [&](CudaStream stream) {
        launch_silu_mul(
            {y.get(), z.get(), y.get(), tokens, 3 * hidden, 3 * hidden, 3 * hidden, 3 * hidden},
            stream);
      });
  {
    const Bf16s table(int64_t{kVocab} * hidden);
    meter.measure("embed", tokens, what, 6.0 * n, 0, [&](CudaStream stream) {
      launch_embed({ids.get(), table.get(), residual.get(), tokens, hidden, hidden}, stream);
    });
  }
  const Ints rows(random_ints(tokens, static_cast<int32_t>(tokens)));
  meter.measure("gather_rows", tokens, what + " bf16", 4.0 * n, 0, [&](CudaStream stream) {
    launch_gather_rows({y.get(), z.get(), rows.get(), nullptr, tokens, hidden, hidden, hidden, 2},
                       stream);
  });
  std::vector<int64_t> order(tokens);
  for (int64_t token = 0; token < tokens; ++token) {
    order[token] = token;
  }
  const Values<int64_t> slots(order);
  for (const bool fp8 : {false, true}) {
    meter.measure("kv_append", tokens, fp8 ? "8 heads of 128, fp8" : "8 heads of 128",
                  static_cast<double>(tokens * kv_cols) * (fp8 ? 6.0 : 8.0), 0,
                  [&](CudaStream stream) {
                    launch_kv_append(
                        {y.get(), y.get() + tokens * kv_cols, z.get(), z.get() + tokens * kv_cols,
                         slots.get(), tokens, kv_cols, kv_cols, kv_cols, fp8, 1.0f, 1.0f},
                        stream);
                  });
  }
  if (tokens >= 64) {
    constexpr int64_t kPageTokens = 64;
    const int64_t pages = tokens / kPageTokens;
    std::vector<int32_t> table(pages);
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), std::mt19937(3));
    const Ints device_table(table);
    const auto* cache = reinterpret_cast<const uint8_t*>(z.get());
    meter.measure("kv_expand", tokens, "8 heads of 128, fp8",
                  static_cast<double>(tokens * kv_cols) * 6.0, 0, [&](CudaStream stream) {
                    launch_kv_expand(
                        {cache, cache + tokens * kv_cols, y.get(), y.get() + tokens * kv_cols,
                         device_table.get(), pages, kPageTokens * kv_cols, 1.0f, 1.0f},
                        stream);
                  });
  }
  if (tokens <= 64) {
    const Floats logits(tokens * kVocab);
    for (const int32_t count : {1, static_cast<int32_t>(kMostCandidates)}) {
      const Floats out(tokens * candidate_cols(count));
      const Values<uint8_t> scratch(
          std::vector<uint8_t>(top_candidates_scratch_bytes(tokens, kVocab)));
      meter.measure("top_candidates", tokens, fmt::format("{} of vocab {}", count, kVocab),
                    4.0 * static_cast<double>(tokens) * kVocab, 0, [&](CudaStream stream) {
                      launch_top_candidates(
                          {logits.get(), out.get(), scratch.get(), tokens, kVocab, kVocab, count},
                          stream);
                    });
    }
  }
}

// Qwen3-30B-A3B.
constexpr int kExperts = 128;
constexpr int kChosen = 8;
constexpr int kHidden = 2048;
constexpr int kInner = 768;

struct MoeWeights {
  Bf16s gate{int64_t{kExperts} * kInner * kHidden};
  Bf16s up{int64_t{kExperts} * kInner * kHidden};
  Bf16s down{int64_t{kExperts} * kHidden * kInner};
};

void measure_moe(Meter& meter, const MoeWeights& w, int64_t tokens, int block_rows, bool hopper) {
  const int64_t pairs = tokens * kChosen;
  const int64_t max_rows = moe_max_rows(tokens, kChosen, kExperts, block_rows);
  const bool gemm = block_rows > 1;
  if (gemm && !hopper) {
    return;
  }
  const Floats logits(tokens * kExperts);
  const Floats weights(pairs);
  const Floats residual(tokens * kHidden);
  const Bf16s x(tokens * kHidden);
  const Ints ids(random_ints(pairs, kExperts));
  const Ints offsets(random_ints(kExperts, 1));
  const Ints counts(random_ints(kExperts, 1));
  const Ints active(random_ints(kExperts, 1));
  const Ints num_active(random_ints(1, 1));
  const Ints rows(random_ints(pairs, 1));
  const Ints row_tokens(random_ints(max_rows, 1));
  const Ints blocks(random_ints(max_rows / block_rows, 1));
  const MoeLayout layout{offsets.get(), counts.get(),     active.get(), num_active.get(),
                         rows.get(),    row_tokens.get(), blocks.get()};
  const Bf16s gathered(max_rows * kHidden);
  const Bf16s inner(max_rows * kInner);
  const Bf16s y(max_rows * kHidden);
  const std::string what = fmt::format("blocks of {}", block_rows);
  const double n = static_cast<double>(pairs) * kHidden;
  meter.measure("moe_route", tokens, "8 of 128", 4.0 * static_cast<double>(tokens) * kExperts, 0,
                [&](CudaStream stream) {
                  launch_moe_route({logits.get(), ids.get(), weights.get(), true, tokens, kExperts,
                                    kExperts, kChosen},
                                   stream);
                });
  meter.measure(
      "moe_permute", tokens, what, 12.0 * static_cast<double>(pairs), 0, [&](CudaStream stream) {
        launch_moe_permute({ids.get(), layout, tokens, kChosen, kExperts, block_rows}, stream);
      });
  const double used = num_active.download()[0];
  const double flops = 2.0 * n * 2 * kInner;
  // grouped_gemv reads each token's row through row_tokens, grouped_gemm a copy for each expert.
  const double gate_up_bytes = 2.0 * (used * 2 * kInner * kHidden + (gemm ? n : n / kChosen) +
                                      static_cast<double>(pairs) * kInner);
  const double down_bytes =
      2.0 * (used * kInner * kHidden + n + static_cast<double>(pairs) * kInner);
  if (gemm) {
    meter.measure("gather_rows", tokens, "of the experts", 2.0 * (n + n / kChosen), 0,
                  [&](CudaStream stream) {
                    launch_gather_rows({x.get(), gathered.get(), row_tokens.get(), nullptr,
                                        max_rows, kHidden, kHidden, kHidden, 2},
                                       stream);
                  });
    GroupedGemmArgs args{gathered.get(), w.gate.get(),  w.up.get(),   inner.get(),
                         blocks.get(),   offsets.get(), counts.get(), max_rows,
                         kExperts,       kHidden,       kInner};
    meter.measure("grouped_gemm", tokens, "gate, up, silu", gate_up_bytes, flops,
                  [&](CudaStream stream) { launch_grouped_gemm(args, stream); });
    args.a = inner.get();
    args.b = w.down.get();
    args.b_up = nullptr;
    args.c = y.get();
    args.in = kInner;
    args.out = kHidden;
    meter.measure("grouped_gemm", tokens, "down", down_bytes, flops / 2,
                  [&](CudaStream stream) { launch_grouped_gemm(args, stream); });
  } else {
    const auto max_active = static_cast<int32_t>(std::min<int64_t>(kExperts, pairs));
    GroupedGemvArgs args{
        x.get(),       row_tokens.get(), w.gate.get(), w.up.get(),       inner.get(),
        offsets.get(), counts.get(),     active.get(), num_active.get(), kHidden,
        max_active,    kHidden,          kInner};
    meter.measure("grouped_gemv", tokens, "gate, up, silu", gate_up_bytes, flops,
                  [&](CudaStream stream) { launch_grouped_gemv(args, stream); });
    args.a = inner.get();
    args.a_rows = nullptr;
    args.a_stride = kInner;
    args.b = w.down.get();
    args.b_up = nullptr;
    args.c = y.get();
    args.in = kInner;
    args.out = kHidden;
    meter.measure("grouped_gemv", tokens, "down", down_bytes, flops / 2,
                  [&](CudaStream stream) { launch_grouped_gemv(args, stream); });
  }
  meter.measure(
      "moe_combine", tokens, what, 2.0 * n + 8.0 * n / kChosen, 0, [&](CudaStream stream) {
        launch_moe_combine(
            {y.get(), rows.get(), weights.get(), residual.get(), tokens, kHidden, kHidden, kChosen},
            stream);
      });
}

// The products of a layer of Llama-3.1-8B, by the kernel of any GPU and by the weight stream.
void measure_gemv(Meter& meter, int tokens, bool hopper) {
  struct Case {
    const char* what;
    int in;
    std::vector<int> outs;
    bool normed, gated;
  };
  const Case cases[] = {{"norm, q, k, v", 4096, {4096, 1024, 1024}, true, false},
                        {"o", 4096, {4096}, false, false},
                        {"norm, gate, up, silu", 4096, {14336, 14336}, true, true},
                        {"down", 14336, {4096}, false, false}};
  for (const Case& c : cases) {
    const int64_t rows = std::accumulate(c.outs.begin(), c.outs.end(), int64_t{0});
    const Bf16s w(rows * c.in);
    const Bf16s x(int64_t{tokens} * c.in);
    const Floats residual(int64_t{tokens} * c.in);
    const Floats norm(c.in);
    const Bf16s y(tokens * rows);
    GemvArgs args{.x = c.normed ? static_cast<const void*>(residual.get()) : x.get(),
                  .x_stride = c.in,
                  .tokens = tokens,
                  .in = c.in,
                  .norm = c.normed ? norm.get() : nullptr,
                  .eps = 1e-6f,
                  .num_terms = static_cast<int32_t>(c.outs.size()),
                  .gated = c.gated};
    int64_t row = 0;
    for (size_t i = 0; i < c.outs.size(); ++i) {
      args.terms[i] = {.w = w.get() + row * c.in,
                       .y = y.get() + tokens * row,
                       .y_stride = c.outs[i],
                       .out = c.outs[i]};
      row += c.outs[i];
    }
    const double bytes = 2.0 * static_cast<double>(rows) * c.in;
    meter.measure("gemv", tokens, c.what, bytes, tokens * bytes,
                  [&](CudaStream stream) { launch_gemv(args, stream); });
    if (hopper && gemv_stream_takes(tokens, c.in)) {
      meter.measure("gemv, stream", tokens, c.what, bytes, tokens * bytes,
                    [&](CudaStream stream) { launch_gemv_stream(args, stream); });
    }
  }
}

// Router, gate, up and down, each token's experts on their own.
void measure_moe_few(Meter& meter, const MoeWeights& w, int tokens, bool hopper) {
  const int pairs = tokens * kChosen;
  const Floats residual(int64_t{tokens} * kHidden);
  const Floats norm(kHidden);
  const Bf16s router(int64_t{kExperts} * kHidden);
  const Floats logits(int64_t{tokens} * kExperts);
  const Bf16s products(int64_t{pairs} * kInner);
  const MoeFewArgs args{.x = residual.get(),
                        .norm = norm.get(),
                        .router = router.get(),
                        .gate = w.gate.get(),
                        .up = w.up.get(),
                        .down = w.down.get(),
                        .logits = logits.get(),
                        .products = products.get(),
                        .x_stride = kHidden,
                        .logits_stride = kExperts,
                        .tokens = tokens,
                        .experts = kExperts,
                        .k = kChosen,
                        .hidden = kHidden,
                        .inner = kInner,
                        .eps = 1e-6f,
                        .renormalise = true};
  const double bytes = 2.0 * (3.0 * pairs * kInner + kExperts) * kHidden;
  const double flops = 2.0 * (3.0 * pairs * kInner + tokens * kExperts) * kHidden;
  meter.measure("moe_few", tokens, "norm, router, experts", bytes, flops,
                [&](CudaStream stream) { launch_moe_few(args, stream); });
  if (hopper && moe_few_stream_takes(args)) {
    meter.measure("moe_few, stream", tokens, "norm, router, experts", bytes, flops,
                  [&](CudaStream stream) { launch_moe_few_stream(args, stream); });
  }
}

void run() {
  const std::vector<GpuInfo> gpus = list_gpus();
  check(!gpus.empty(), ErrorCode::kUnsupported, "no GPU");
  fmt::print("{}\n", gpus.front().name);
  Meter meter;
  for (const int hidden : {2048, 4096}) {
    for (const int64_t tokens : kTokens) {
      measure_elementwise(meter, tokens, hidden);
    }
  }
  const bool hopper = gpus.front().compute_capability == 90;
  for (const int tokens : {1, 8}) {
    measure_gemv(meter, tokens, hopper);
  }
  const MoeWeights weights;
  for (const int tokens : {1, kMoeFewTokens}) {
    measure_moe_few(meter, weights, tokens, hopper);
  }
  for (const int block_rows : {1, kGroupedGemmRows}) {
    for (const int64_t tokens :
         {int64_t{1}, int64_t{16}, int64_t{64}, int64_t{256}, int64_t{8192}}) {
      measure_moe(meter, weights, tokens, block_rows, hopper);
    }
  }
}

}  // namespace
}  // namespace hopskip::cuda

int main() {
  try {
    hopskip::cuda::run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
