// linear() on the CPU: weight bytes a second for a few tokens, FLOPs a second for many, and all
// linear layers of SmolLM2-135M. The memory's own read rate is measured beside them.
#include <benchmark/benchmark.h>

#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "tensor/quantize.h"

namespace hopskip {
namespace {

// Weights of a dtype from random floats; one stretch of values is enough to time.
std::vector<std::byte> random_weight(DType dtype, int64_t rows, int64_t cols) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> row(cols);
  std::vector<std::byte> bytes(row_bytes(dtype, rows * cols));
  for (int64_t r = 0; r < rows; ++r) {
    if (r < 64) {
      for (float& value : row) {
        value = normal(random);
      }
      quantize(dtype, row.data(), bytes.data() + r * row_bytes(dtype, cols), cols);
    } else {
      std::copy_n(bytes.data() + (r - 64) * row_bytes(dtype, cols), row_bytes(dtype, cols),
                  bytes.data() + r * row_bytes(dtype, cols));
    }
  }
  return bytes;
}

struct Loaded {
  Loaded(Backend& backend, DType dtype, int64_t rows, int64_t cols)
      : bytes(random_weight(dtype, rows, cols)),
        weight(backend.load({bytes.data(), dtype, 2, {rows, cols}})) {}
  std::vector<std::byte> bytes;
  WeightPtr weight;
};

Matrix filled(Backend& backend, int64_t rows, int64_t cols) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  const Matrix x = backend.allocate(rows, cols, MatrixKind::kActivation);
  for (int64_t i = 0; i < rows * cols; ++i) {
    x.values()[i] = normal(random);
  }
  return x;
}

// Reads 256 MiB, far more than the caches hold.
void BM_ReadMemory(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const std::vector<int64_t> data(int64_t{32} << 20, 1);
  constexpr int64_t kTask = 1 << 14;
  std::vector<int64_t> sums(pool.size() * 16);
  for (auto _ : state) {
    pool.parallel_for(std::ssize(data) / kTask, [&](int64_t task, int thread) {
      sums[thread * 16] +=
          std::accumulate(&data[task * kTask], &data[task * kTask] + kTask, int64_t{0});
    });
  }
  benchmark::DoNotOptimize(sums.data());
  state.SetBytesProcessed(state.iterations() * std::ssize(data) * 8);
}
BENCHMARK(BM_ReadMemory)->Arg(1)->Arg(2)->ArgName("threads")->UseRealTime();

// 49,152 × 576, the largest matrix of SmolLM2-135M: beyond the caches for most dtypes.
void BM_Dot(benchmark::State& state, DType dtype) {
  const auto backend = make_backend("cpu", {.threads = static_cast<int>(state.range(0))});
  constexpr int64_t kRows = 49152;
  const int64_t cols = block_elements(dtype) == 256 ? 512 : 576;
  const Loaded w(*backend, dtype, kRows, cols);
  const Matrix x = filled(*backend, state.range(1), cols);
  const LinearTerm term{w.weight.get(), nullptr,
                        backend->allocate(x.rows, kRows, MatrixKind::kActivation), false};
  for (auto _ : state) {
    backend->linear(x, {&term, 1});
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(w.bytes));
}
#define HOPSKIP_DOT(dtype)                       \
  BENCHMARK_CAPTURE(BM_Dot, dtype, DType::dtype) \
      ->ArgsProduct({{1, 2}, {1}})               \
      ->Args({2, 4})                             \
      ->Args({2, 15})                            \
      ->ArgNames({"threads", "tokens"})          \
      ->UseRealTime()
HOPSKIP_DOT(kF32);
HOPSKIP_DOT(kF16);
HOPSKIP_DOT(kBF16);
HOPSKIP_DOT(kQ8_0);
HOPSKIP_DOT(kQ4_0);
HOPSKIP_DOT(kQ4_1);
HOPSKIP_DOT(kQ4_K);
HOPSKIP_DOT(kQ5_K);
HOPSKIP_DOT(kQ6_K);

// One product of SmolLM2-135M, Q4_1: tokens × in × out.
void BM_Multiply(benchmark::State& state) {
  const auto backend = make_backend("cpu", {.threads = 2});
  const int64_t tokens = state.range(0);
  const int64_t cols = state.range(1);
  const int64_t rows = state.range(2);
  const Loaded w(*backend, DType::kQ4_1, rows, cols);
  const Matrix x = filled(*backend, tokens, cols);
  const LinearTerm term{w.weight.get(), nullptr,
                        backend->allocate(tokens, rows, MatrixKind::kActivation), false};
  for (auto _ : state) {
    backend->linear(x, {&term, 1});
  }
  state.counters["FLOP"] = benchmark::Counter(2.0 * tokens * cols * rows * state.iterations(),
                                              benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Multiply)
    ->ArgsProduct({{16, 64, 512, 2048}, {576}, {192, 576, 1536}})
    ->ArgsProduct({{16, 64, 512, 2048}, {1536}, {576}})
    ->ArgNames({"tokens", "in", "out"})
    ->UseRealTime();

// All linear layers of SmolLM2-135M in the order and grouping of a step.
void BM_SmolLm2(benchmark::State& state) {
  constexpr int kLayers = 30;
  constexpr int64_t kHidden = 576, kKv = 192, kFfn = 1536, kVocab = 49152;
  const auto backend = make_backend("cpu", {.threads = static_cast<int>(state.range(0))});
  const int64_t tokens = state.range(1);
  struct Layer {
    Loaded q, k, v, o, gate, up, down;
  };
  std::vector<std::unique_ptr<Layer>> layers;
  const auto load = [&](int64_t rows, int64_t cols) {
    return Loaded(*backend, DType::kQ4_1, rows, cols);
  };
  for (int i = 0; i < kLayers; ++i) {
    layers.push_back(std::make_unique<Layer>(Layer{
        load(kHidden, kHidden), load(kKv, kHidden), load(kKv, kHidden), load(kHidden, kHidden),
        load(kFfn, kHidden), load(kFfn, kHidden), load(kHidden, kFfn)}));
  }
  const Loaded output(*backend, DType::kQ8_0, kVocab, kHidden);
  const Matrix x = filled(*backend, tokens, kHidden);
  const Matrix wide = filled(*backend, tokens, kFfn);
  const Matrix q = backend->allocate(tokens, kHidden, MatrixKind::kActivation);
  const Matrix k = backend->allocate(tokens, kKv, MatrixKind::kActivation);
  const Matrix v = backend->allocate(tokens, kKv, MatrixKind::kActivation);
  const Matrix gate = backend->allocate(tokens, kFfn, MatrixKind::kActivation);
  const Matrix up = backend->allocate(tokens, kFfn, MatrixKind::kActivation);
  const Matrix y = filled(*backend, tokens, kHidden);
  const Matrix logits = backend->allocate(1, kVocab, MatrixKind::kActivation);
  const Matrix last{x.data, 1, kHidden, kHidden};
  const auto term = [](const Loaded& w, Matrix out, bool accumulate = false) {
    return LinearTerm{w.weight.get(), nullptr, out, accumulate};
  };
  for (auto _ : state) {
    for (const auto& layer : layers) {
      const LinearTerm qkv[] = {term(layer->q, q), term(layer->k, k), term(layer->v, v)};
      backend->linear(x, qkv);
      const LinearTerm o[] = {term(layer->o, y, true)};
      backend->linear(q, o);
      const LinearTerm mlp[] = {term(layer->gate, gate), term(layer->up, up)};
      backend->linear(x, mlp);
      const LinearTerm down[] = {term(layer->down, y, true)};
      backend->linear(wide, down);
    }
    const LinearTerm head[] = {term(output, logits)};
    backend->linear(last, head);
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens * state.iterations()),
                                                  benchmark::Counter::kIsRate);
}
BENCHMARK(BM_SmolLm2)
    ->ArgsProduct({{1, 2}, {1, 2, 4, 8, 15, 16, 64, 512, 2048}})
    ->ArgNames({"threads", "tokens"})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace hopskip

BENCHMARK_MAIN();
