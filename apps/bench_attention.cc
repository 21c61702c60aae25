// hopskip bench attention: the kernel alone, on inputs whose skipped share is known.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/kernels/attention_bench.h"
#include "command.h"
#include "files.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter =
    R"(Keys in random stretches are made cold, so that their tiles can be skipped; 'speed-up' is against the same
inputs with nothing skipped. A spot check against exact arithmetic comes first.

Examples:
  hopskip bench attention --ctx 2048,8192 --cold 0,0.5,0.9
  hopskip bench attention --phase decode --ctx 32768 --heads 32 --kv-heads 8 --head-dim 128)";

constexpr int kDecodeLayers = 8;  // so that K and V come from memory, not from a cache

struct AttentionCommand {
  explicit AttentionCommand(CLI::App& app) {
    app.add_option("--phase", phase, "prefill or decode")
        ->check(CLI::IsMember({"prefill", "decode"}))
        ->capture_default_str();
    app.add_option("--ctx", contexts, "Keys")
        ->delimiter(',')
        ->check(CLI::Range(int64_t{16}, int64_t{1} << 24))
        ->capture_default_str();
    app.add_option("--cold", cold, "Shares of keys that are cold")
        ->delimiter(',')
        ->check(CLI::Range(0.0, 1.0))
        ->capture_default_str();
    app.add_option("--heads", shape.num_heads, "Query heads")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--kv-heads", shape.num_kv_heads, "Heads of K and V; divides --heads")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--head-dim", shape.head_dim, "Elements of a head")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--repeat", repeats, "Runs of each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--threads", backend.threads, "CPU threads; default: all")
        ->check(CLI::Range(0, 1024));
    app.add_option("--simd", backend.simd, "CPU instruction set, e.g. avx2; default: the best");
    app.add_option("--csv", csv_file, "Write the table here too")->type_name("FILE");
    app.footer(kFooter);
  }

  void operator()() const {
    if (csv_file) {
      check_writable(*csv_file);
    }
    const bool decodes = phase == phase_name(Phase::kDecode);
    Table table({"ctx", "cold", "ms", decodes ? "GB/s" : "GFLOP/s", "skipped", "speed-up"});
    for (int64_t context : contexts) {
      for (double share : cold) {
        bench::AttentionBenchCase c = shape;
        c.phase = decodes ? Phase::kDecode : Phase::kPrefill;
        c.kv_len = context;
        c.q_len = decodes ? 1 : context;
        c.layers = decodes ? kDecodeLayers : 1;
        c.cold_share = share;
        const bench::AttentionBenchResult r = bench::run_attention_bench(c, backend, repeats);
        const double work = decodes ? r.bytes : r.flops;
        table.add({fmt::format("{}", context), percent(share),
                   fmt::format("{:.3f}", 1e3 * r.seconds),
                   fmt::format("{:.1f}", 1e-9 * work / r.seconds), percent(r.skipped),
                   fmt::format("{:.2f}x", r.dense_seconds / r.seconds)});
      }
    }
    fmt::print("{}", table.text());
    if (csv_file) {
      write_file(*csv_file, table.csv());
    }
  }

  std::string phase = "prefill";
  std::vector<int64_t> contexts{2048};
  std::vector<double> cold{0.0, 0.5, 0.9};
  bench::AttentionBenchCase shape;
  int repeats = 7;
  BackendOptions backend;
  std::optional<std::string> csv_file;
};

}  // namespace

Action add_bench_attention(CLI::App& app) {
  return [command = std::make_shared<AttentionCommand>(app)] { (*command)(); };
}

}  // namespace hopskip::apps
