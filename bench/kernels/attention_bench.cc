#include "bench/kernels/attention_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "attention/reference.h"
#include "base/check.h"
#include "base/float16.h"
#include "base/host_memory.h"
#include "cases/attention_cases.h"
#include "kernels/cpu/attention.h"

namespace hopskip::bench {
namespace {

constexpr float kColdNats = 20.0f;
// λ = 2^-8: above the cold stretches' weights, below what random scores differ by in a tile.
constexpr float kThresholdLog2 = -8.0f;
// A bf16 kernel's error on unit-variance values stays well below this.
constexpr double kTolerance = 2e-2;

AttentionShape shape_of(const AttentionBenchCase& c) {
  AttentionShape shape;
  shape.num_heads = c.num_heads;
  shape.num_kv_heads = c.num_kv_heads;
  shape.head_dim = c.head_dim;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  return shape;
}

Matrix matrix(std::vector<float>& values, int64_t cols) {
  return {values.data(), std::ssize(values) / cols, cols, cols};
}

// The output of the last `tokens` rows of a call on all rows, given the call's skip map.
void check_last_rows(const AttentionBenchCase& c, const test::AttentionData& data,
                     const std::vector<float>& out, const SkipMap& map, const TilePlan& plan,
                     float threshold) {
  const int64_t tokens = (c.q_len - 1) % plan.rows + 1;  // the last row tile
  const int64_t q_size = tokens * c.num_heads * c.head_dim;
  const ReferenceInput input{shape_of(c),   tokens,
                             c.kv_len,      data.q.data() + std::ssize(data.q) - q_size,
                             data.k.data(), data.v.data()};
  SkipMap last(input.shape, plan, tokens, c.kv_len);
  for (int64_t head = 0; head < map.head_tiles; ++head) {
    for (int64_t key = 0; key < map.key_tiles; ++key) {
      last.at(head, 0, key) = map.at(head, map.row_tiles - 1, key);
    }
  }
  const ReferenceOutput want = reference_attention(input, plan, threshold, &last);
  for (int64_t i = 0; i < q_size; ++i) {
    const double got = out[std::ssize(out) - q_size + i];
    check(std::abs(got - want.out[i]) < kTolerance, ErrorCode::kInternal,
          "{}: output {} is {}, the reference has {}; nothing is measured", to_string(c), i, got,
          want.out[i]);
  }
}

// Throws OutOfMemory for a case that the machine has no memory for.
void check_fits(const AttentionBenchCase& c, const TilePlan& plan) {
  const int64_t q = c.q_len * c.num_heads * c.head_dim;
  const int64_t kv = 2 * c.kv_len * c.num_kv_heads * c.head_dim;
  const int64_t tiles = ((c.q_len - 1) / plan.rows + 1) * ((c.kv_len - 1) / plan.keys + 1);
  const int64_t bytes = (2 * q + kv) * int64_t{sizeof(float)} +            // q, out, k, v
                        c.layers * kv * int64_t{sizeof(bf16)} +            // the cache
                        tiles * c.num_heads * int64_t{sizeof(TileState)};  // the spot check's map
  const int64_t spare = spare_memory();
  check(bytes <= spare, ErrorCode::kOutOfMemory,
        "{} needs {:.1f} GB, and this machine has {:.1f} GB of memory to give: take fewer keys "
        "(--ctx) or heads",
        to_string(c), 1e-9 * static_cast<double>(bytes), 1e-9 * static_cast<double>(spare));
}

}  // namespace

std::string to_string(const AttentionBenchCase& c) {
  return fmt::format("{} {}/{}x{}, {} on {} keys, {:.0f} % cold in stretches of {}",
                     phase_name(c.phase), c.num_heads, c.num_kv_heads, c.head_dim, c.q_len,
                     c.kv_len, 100.0 * c.cold_share, c.stretch);
}

AttentionBenchResult run_attention_bench(const AttentionBenchCase& c, const BackendOptions& options,
                                         int repeats) {
  const AttentionShape shape = shape_of(c);
  ThreadPool pool(options.threads);
  CpuAttention attention(pool, parse_simd_level(options.simd), options.tile_plans);
  check_fits(c, attention.tile_plan(c.phase, shape));
  std::mt19937_64 random(1);
  test::AttentionData data = test::make_attention_data(
      c.q_len, c.kv_len, c.num_heads, c.num_kv_heads, c.head_dim, shape.scale, c.stretch,
      c.cold_share, kColdNats, random, [](float x) { return static_cast<float>(bf16(x)); });

  KvConfig config;
  config.num_layers = c.layers;
  config.num_kv_heads = c.num_kv_heads;
  config.head_dim = c.head_dim;
  config.num_pages = (c.kv_len + config.page_size - 1) / config.page_size;
  const auto kv = attention.make_kv_storage(config);
  std::vector<int32_t> pages(config.num_pages);
  for (int32_t i = 0; i < std::ssize(pages); ++i) {
    pages[i] = i;
  }
  const int64_t kv_cols = int64_t{c.num_kv_heads} * c.head_dim;
  const int64_t q_cols = int64_t{c.num_heads} * c.head_dim;
  const std::vector<int32_t> zeros(c.kv_len);  // tokens and positions play no role
  const auto begin_step = [&](const AttentionSequence& sequence) {
    const auto tokens = std::span(zeros).first(sequence.q_len);
    return attention.begin_step({.tokens = tokens,
                                 .positions = tokens,
                                 .sequences = {&sequence, 1},
                                 .kv = kv.get(),
                                 .num_heads = c.num_heads});
  };
  const AttentionSequence context{0, c.kv_len, c.kv_len, pages};
  const auto context_step = begin_step(context);
  for (int layer = 0; layer < c.layers; ++layer) {
    attention.kv_append(*context_step, layer, matrix(data.k, kv_cols), matrix(data.v, kv_cols));
  }

  std::vector<float> out(data.q.size());
  const AttentionSequence sparse_sequence{0, c.q_len, c.kv_len, pages, c.phase, kThresholdLog2};
  AttentionSequence dense_sequence = sparse_sequence;
  dense_sequence.threshold_log2 = kDenseThresholdLog2;
  const auto call = [&](Step& step, int layer, const AttentionDebug& debug) {
    attention.attention(step, shape, layer, matrix(data.q, q_cols), matrix(out, q_cols), debug);
  };
  const auto sparse = begin_step(sparse_sequence);
  const auto dense = begin_step(dense_sequence);
  AttentionBenchResult result;
  for (Step* step : {dense.get(), sparse.get()}) {
    std::vector<SkipMap> maps;
    call(*step, c.layers - 1, {nullptr, &maps});
    check_last_rows(c, data, out, maps.front(), attention.tile_plan(c.phase, shape),
                    step->sequences().front().threshold_log2);
  }
  SkipCounts total;
  for (const SkipCounts& counts : sparse->counts()) {
    total += counts;
  }
  result.skipped = total.sparsity();

  const auto seconds = [&](Step& step) {
    const auto begin = std::chrono::steady_clock::now();
    for (int layer = 0; layer < c.layers; ++layer) {
      call(step, layer, {});
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::vector<double> sparse_times;
  std::vector<double> dense_times;
  for (int i = 0; i < repeats; ++i) {
    dense_times.push_back(seconds(*dense));
    sparse_times.push_back(seconds(*sparse));
  }
  std::sort(sparse_times.begin(), sparse_times.end());
  std::sort(dense_times.begin(), dense_times.end());
  result.seconds = sparse_times[repeats / 2];
  result.dense_seconds = dense_times[repeats / 2];
  result.spread = (sparse_times.back() - sparse_times.front()) / result.seconds;
  const double context_keys = static_cast<double>(c.kv_len - c.q_len);
  const double visible = static_cast<double>(c.q_len) * (context_keys + 0.5 * c.q_len);
  result.flops = 4.0 * c.layers * c.num_heads * c.head_dim * visible;
  result.bytes = 2.0 * 2.0 * c.layers * static_cast<double>(c.kv_len * kv_cols);
  return result;
}

std::vector<AttentionBenchCase> attention_bench_cases() {
  std::vector<AttentionBenchCase> cases;
  const auto add = [&](AttentionBenchCase c) {
    for (int stretch : {16, 128}) {
      for (double share : {0.0, 0.25, 0.5, 0.75, 0.9}) {
        if (share > 0.0 || stretch == 16) {
          c.stretch = stretch;
          c.cold_share = share;
          cases.push_back(c);
        }
      }
    }
  };
  add({.num_heads = 9, .num_kv_heads = 3, .head_dim = 64});
  add({.num_heads = 8, .num_kv_heads = 2, .head_dim = 128});
  add({.num_heads = 9,
       .num_kv_heads = 3,
       .head_dim = 64,
       .q_len = 1,
       .phase = Phase::kDecode,
       .layers = 30});
  add({.num_heads = 8,
       .num_kv_heads = 2,
       .head_dim = 128,
       .q_len = 1,
       .phase = Phase::kDecode,
       .layers = 30});
  return cases;
}

}  // namespace hopskip::bench
