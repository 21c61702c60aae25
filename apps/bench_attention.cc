// hopskip bench attention: the kernel alone, on inputs whose skipped share is known.
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/kernels/attention_bench.h"
#include "bench/kernels/gpu_attention_bench.h"
#include "command.h"
#include "files.h"
#include "flag_checks.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter =
    R"(Keys in random stretches are made cold, so that their tiles can be skipped; 'speed-up' is against the same
inputs with nothing skipped, in turn. Speeds count the work that dense attention has: GFLOP/s or, on a GPU, TFLOP/s of
prefill, half the square; GB/s or TB/s of all K and V in decode. A spot check against exact arithmetic comes first.
K and V are in BF16, in decode on a GPU in pages of 64 tokens. Comparisons with other libraries: bench/gpu/attention.py.

Examples:
  hopskip bench attention --ctx 2048,8192 --cold 0,0.5,0.9
  hopskip bench attention --phase decode --ctx 32768 --heads 32 --kv-heads 8 --head-dim 128
  hopskip bench attention --device cuda --heads 64 --kv-heads 4 --head-dim 128 --ctx 16384,65536
  hopskip bench attention --device cuda --phase decode --batch 64 --heads 32 --kv-heads 8 --head-dim 128 --ctx 65536)";

constexpr int kDecodeLayers = 8;  // so that K and V come from memory, not from a cache

struct AttentionCommand {
  explicit AttentionCommand(CLI::App& app) {
    app.add_option("--device", device, "auto (a GPU where there is one), cpu, cuda or cuda:N")
        ->capture_default_str();
    app.add_option("--phase", phase, "prefill or decode")
        ->check(CLI::IsMember({"prefill", "decode"}))
        ->capture_default_str();
    app.add_option("--ctx", contexts, "Keys")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(int64_t{16}, int64_t{1} << 24))
        ->capture_default_str();
    app.add_option("--batch", batch, "Sequences; above 1 on a GPU only")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    app.add_option("--cold", cold, "Shares of keys that are cold")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(is_share())
        ->capture_default_str();
    app.add_option("--stretch", shape.stretch, "Keys that are cold together")
        ->check(CLI::Range(1, 1 << 20))
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
    app.add_option("--csv", csv_file, "Write the table here too")
        ->type_name("FILE")
        ->check(is_file_name());
    app.footer(kFooter);
  }

  // The GPU's number; none: the CPU. Throws InvalidArgument for what is no device, and Unsupported
  // where a GPU is asked for and there is none.
  std::optional<int> gpu() const {
    const bool names_cpu_flags = backend.threads != 0 || !backend.simd.empty();
    if (device == "cpu" || (device == "auto" && (names_cpu_flags || list_gpus().empty()))) {
      check(batch == 1, ErrorCode::kInvalidArgument,
            "--batch {}: the CPU is measured with one sequence", batch);
      return std::nullopt;
    }
    int number = 0;
    if (device.starts_with("cuda:")) {
      const char* end = device.data() + device.size();
      const auto [rest, error] = std::from_chars(device.data() + 5, end, number);
      check(error == std::errc() && rest == end && number >= 0, ErrorCode::kInvalidArgument,
            "--device '{}' is not auto, cpu, cuda or cuda:N", device);
    } else {
      check(device == "cuda" || device == "auto", ErrorCode::kInvalidArgument,
            "--device '{}' is not auto, cpu, cuda or cuda:N", device);
    }
    check(!names_cpu_flags, ErrorCode::kInvalidArgument,
          "--threads and --simd are the CPU's: they say nothing about --device {}", device);
    const auto gpus = list_gpus();
    if (gpus.empty()) {  // any shape will do to hear why
      AttentionConfig config;
      config.num_heads = config.num_kv_heads = 1;
      config.head_dim = 64;
      fail(ErrorCode::kUnsupported, "--device {}: {}; --device cpu runs everywhere", device,
           attention_candidates(config).front().why_not);
    }
    check(number < std::ssize(gpus), ErrorCode::kUnsupported,
          "--device {}: no such CUDA device, this machine has {}", device, gpus.size());
    fmt::print(stderr, "{}\n", gpus[number].name);
    return number;
  }

  struct Row {
    double seconds, dense_seconds, skipped, work;
  };

  Row measure(const std::optional<int>& gpu, int64_t context, double share) const {
    if (gpu) {
      bench::GpuAttentionCase c;
      c.phase = phase_of();
      c.num_heads = shape.num_heads;
      c.num_kv_heads = shape.num_kv_heads;
      c.head_dim = shape.head_dim;
      c.batch = batch;
      c.kv_len = context;
      c.stretch = shape.stretch;
      c.cold_share = share;
      const bench::GpuAttentionResult r = bench::run_gpu_attention_bench(c, *gpu, repeats);
      return {r.seconds, r.dense_seconds, r.skipped, decodes() ? r.bytes : r.flops};
    }
    bench::AttentionBenchCase c = shape;
    c.phase = phase_of();
    c.kv_len = context;
    c.q_len = decodes() ? 1 : context;
    c.layers = decodes() ? kDecodeLayers : 1;
    c.cold_share = share;
    const bench::AttentionBenchResult r = bench::run_attention_bench(c, backend, repeats);
    return {r.seconds, r.dense_seconds, r.skipped, decodes() ? r.bytes : r.flops};
  }

  void operator()() const {
    if (csv_file) {
      check_writable(*csv_file);
    }
    const std::optional<int> gpu_number = gpu();
    const double unit = gpu_number ? 1e-12 : 1e-9;
    const std::string name = gpu_number ? "T" : "G";
    Table table(
        {"ctx", "cold", "ms", name + (decodes() ? "B/s" : "FLOP/s"), "skipped", "speed-up"});
    for (int64_t context : contexts) {
      for (double share : cold) {
        const Row r = measure(gpu_number, context, share);
        table.add(
            {fmt::format("{}", context), percent(share), fmt::format("{:.3f}", 1e3 * r.seconds),
             fmt::format("{:.{}f}", unit * r.work / r.seconds, gpu_number && decodes() ? 3 : 1),
             percent(r.skipped), fmt::format("{:.2f}x", r.dense_seconds / r.seconds)});
      }
    }
    fmt::print("{}", table.text());
    if (csv_file) {
      write_file(*csv_file, table.csv());
    }
  }

  bool decodes() const { return phase == phase_name(Phase::kDecode); }
  Phase phase_of() const { return decodes() ? Phase::kDecode : Phase::kPrefill; }

  std::string device = "auto";
  std::string phase = "prefill";
  std::vector<int64_t> contexts{2048};
  std::vector<double> cold{0.0, 0.5, 0.9};
  int batch = 1;
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
