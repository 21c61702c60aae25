// hopskip info: this machine, a model, and what would run.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "command.h"
#include "gpu_info.h"
#include "kernels/backend.h"
#include "llm/engine_options.h"
#include "model_flags.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter = R"(Examples:
  hopskip info                       devices, CPU features, GPU kernels
  hopskip info smollm2-135m          what the model is and how its attention runs
  hopskip info model.gguf --explain  what each line means, why a kernel does not run)";

std::string cpu_features() {
  std::string features;
  const auto add = [&](const char* name, bool there) {
    features += there ? fmt::format("{}{}", features.empty() ? "" : " ", name) : "";
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  add("avx2", __builtin_cpu_supports("avx2"));
  add("fma", __builtin_cpu_supports("fma"));
  add("f16c", __builtin_cpu_supports("f16c"));
  add("avx512f", __builtin_cpu_supports("avx512f"));
  add("avx512bw", __builtin_cpu_supports("avx512bw"));
  add("avx512vnni", __builtin_cpu_supports("avx512vnni"));
  add("avx512bf16", __builtin_cpu_supports("avx512bf16"));
#endif
  return features.empty() ? "none that Hopskip uses" : features;
}

std::string skip_text(double factor) {
  return factor > 0.0 ? fmt::format("factor {:g}", factor) : "dense";
}

struct InfoCommand {
  explicit InfoCommand(CLI::App& app) : model(app, {.model_required = false}) {
    app.add_flag("--explain", explain, "Say what the lines mean and why something does not run");
    app.footer(kFooter);
  }

  void operator()() const {
    // All that can fail comes before the first line.
    LLMOptions options = model.options();
    std::optional<LLM> llm;
    std::string why_no_kv_dtype;
    try {
      check_runs(options, llm);
    } catch (const Error& error) {
      if (!explain || error.code() != ErrorCode::kUnsupported || options.kv_dtype == "auto") {
        throw;
      }
      why_no_kv_dtype = fmt::format("{} does not run: {}", options.kv_dtype, error.what());
      options.kv_dtype = "auto";
      check_runs(options, llm);
    }
    fmt::print("hopskip {}\n", HOPSKIP_VERSION);
    fmt::print("cpu: {} threads, {}\n\n", std::thread::hardware_concurrency(), cpu_features());
    print_backends({.threads = options.threads, .simd = options.simd});
    fmt::print("\n");
    print_gpus(explain);
    if (llm) {
      fmt::print("\n");
      print_model(llm->info());
    }
    if (!why_no_kv_dtype.empty()) {
      fmt::print("\nKV cache     {}\n", why_no_kv_dtype);
    }
  }

  // The model, where one is given, and else what the flags ask of the machine.
  void check_runs(const LLMOptions& options, std::optional<LLM>& llm) const {
    if (!options.model.empty()) {
      llm.emplace(options);
    } else if (options.device != "auto" || options.kv_dtype != "auto" || options.threads != 0) {
      const std::unique_ptr<Backend> backend = open_backend(options);
      backend->check_kv({.num_layers = 1,  // of usual heads: the type is what is asked
                         .num_kv_heads = 1,
                         .head_dim = 64,
                         .dtype = engine_options(options, *backend).kv_dtype});
    }
  }

  void print_backends(const BackendOptions& options) const {
    Table table({"backend", "runs here", "what it is"});
    bool chosen = false;
    for (const BackendEntry& entry : backends()) {
      const std::string why_not = entry.why_not(options);
      std::string state = why_not.empty() ? "yes" : "no: " + why_not;
      if (why_not.empty() && !chosen) {
        state += ", and --device auto takes it";
        chosen = true;
      }
      table.add({std::string(entry.name), state, std::string(entry.summary)});
    }
    fmt::print("{}", table.text());
  }

  void print_model(const ModelInfo& info) const {
    constexpr double kMiB = 1024.0 * 1024.0;
    const auto line = [&](const char* name, const std::string& value, const char* meaning) {
      fmt::print("{:<12} {}\n", name, value);
      if (explain) {
        fmt::print("{:<12}   {}\n", "", meaning);
      }
    };
    line("model", fmt::format("{} ({})", info.name, info.path), "name and place of the checkpoint");
    line("weights",
         fmt::format("{}, {:.1f} MiB, architecture {}", info.format,
                     static_cast<double>(info.tensor_bytes) / kMiB, info.architecture),
         "file format, size of all tensors, which model code runs");
    line("shape",
         fmt::format("{} layers, hidden {}, {} heads over {} KV heads of {}, vocabulary {}",
                     info.num_layers, info.hidden_size, info.num_heads, info.num_kv_heads,
                     info.head_dim, info.vocab_size),
         "heads / KV heads query heads share one K and V (GQA)");
    if (info.num_experts > 0) {
      line("experts",
           fmt::format("{} of {} for each token", info.num_experts_per_tok, info.num_experts),
           "a router chooses them anew in each layer; only their weights are read");
    }
    line("context", fmt::format("{} of {} tokens", info.context, info.max_context),
         "longest prompt + output here, of what the checkpoint claims (--ctx)");
    for (const std::string& notice : info.notices) {
      line("note", notice, "a smaller model leaves more memory for the KV cache");
    }
    line("chat", info.has_chat_template ? "has a chat template" : "no chat template",
         "with a template, 'run' and 'chat' put the prompt into it");
    line("device", fmt::format("{}, KV cache {}", info.device, info.kv_dtype),
         "what computes (--device, --simd, --threads, --kv-dtype)");
    for (Phase phase : kPhases) {
      line(std::string(phase_name(phase)).c_str(),
           fmt::format("{}, tiles {}", skip_text(info.threshold_scale_factor[phase]),
                       info.tile_plan[phase]),
           "Skip Softmax: rows x keys that vote together / keys scored before they vote, order of "
           "visit");
    }
  }

  ModelFlags model;
  bool explain = false;
};

}  // namespace

Action add_info(CLI::App& app) {
  return [command = std::make_shared<InfoCommand>(app)] { (*command)(); };
}

}  // namespace hopskip::apps
