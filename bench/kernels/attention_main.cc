// attention_bench [--phase prefill|decode] [--head-dim D] [--cold SHARE] [--stretch KEYS]
//                 [--threads N] [--simd LEVEL] [--repeats N] [--prefill-plan PLAN]
//                 [--decode-plan PLAN]: one line for each case that the filters leave.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "bench/kernels/attention_bench.h"

namespace hopskip::bench {
namespace {

void print(const AttentionBenchCase& c, const AttentionBenchResult& r) {
  const double rate = c.phase == Phase::kPrefill ? r.flops : r.bytes;
  fmt::print("{:<68} {:8.3f} ms ±{:4.1f} %  {:6.1f} {}  skipped {:5.1f} %  {:.3f} x dense\n",
             to_string(c), 1e3 * r.seconds, 50.0 * r.spread, 1e-9 * rate / r.seconds,
             c.phase == Phase::kPrefill ? "GFLOP/s" : "GB/s", 100.0 * r.skipped,
             r.dense_seconds / r.seconds);
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  CLI::App app("Measures CPU attention");
  BackendOptions options;
  std::string phase, prefill_plan, decode_plan;
  int head_dim = 0;
  int stretch = 0;
  int repeats = 7;
  double cold = -1.0;
  app.add_option("--phase", phase);
  app.add_option("--head-dim", head_dim);
  app.add_option("--cold", cold);
  app.add_option("--stretch", stretch);
  app.add_option("--threads", options.threads);
  app.add_option("--simd", options.simd);
  app.add_option("--repeats", repeats)->check(CLI::PositiveNumber);
  app.add_option("--prefill-plan", prefill_plan);
  app.add_option("--decode-plan", decode_plan);
  CLI11_PARSE(app, argc, argv);
  if (!prefill_plan.empty()) {
    options.tile_plans.prefill = parse_tile_plan(prefill_plan);
  }
  if (!decode_plan.empty()) {
    options.tile_plans.decode = parse_tile_plan(decode_plan);
  }
  for (const AttentionBenchCase& c : attention_bench_cases()) {
    const bool wanted = (phase.empty() || phase == phase_name(c.phase)) &&
                        (head_dim == 0 || head_dim == c.head_dim) &&
                        (stretch == 0 || stretch == c.stretch) &&
                        (cold < 0.0 || cold == c.cold_share);
    if (wanted) {
      print(c, run_attention_bench(c, options, repeats));
    }
  }
  return 0;
}

}  // namespace
}  // namespace hopskip::bench

int main(int argc, char** argv) {
  try {
    return hopskip::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "attention_bench: {}\n", error.what());
    return 1;
  }
}
