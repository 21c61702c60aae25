// hopskip bench: speed of a model at several lengths and factors, and of shapes of models.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string_view>

#include "attention/profile.h"
#include "base/check.h"
#include "bench_shape.h"
#include "command.h"
#include "files.h"
#include "flag_checks.h"
#include "generate_flags.h"
#include "model_flags.h"
#include "progress.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

// What all subcommands but attention share.
struct CommonFlags {
  explicit CommonFlags(CLI::App& app) {
    app.add_option("--ctx", contexts, "Prompt lengths in tokens")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 30))
        ->capture_default_str();
    app.add_option("--seed", seed, "Of the random ids and weights")
        ->check(is_seed())
        ->capture_default_str();
    app.add_option("--csv", csv_file, "Write the table here too")
        ->type_name("FILE")
        ->check(is_file_name());
    app.add_flag("--progress,!--no-progress", report.progress,
                 "A bar for whatever takes over two seconds, on a terminal");
  }

  ShapeBench::Common for_shape(int repeats, int64_t new_tokens, const ModelFlags& model) const {
    return {.contexts = contexts,
            .repeats = repeats,
            .new_tokens = new_tokens,
            .seed = seed,
            .csv_file = csv_file,
            .progress = report.shows_progress(),
            .machine = model.options()};
  }

  std::vector<int64_t> contexts{1024};
  uint64_t seed = 0;
  std::optional<std::string> csv_file;
  ReportFlags report;
};

std::string footer(std::string_view about, std::string_view shapes, std::string_view examples) {
  return fmt::format("{}\n{}\n\nExamples:\n{}", about, shapes, examples);
}

std::string help_with_parts() {
  return fmt::format("{}\n{}", ShapeBench::kHelp, ShapeBench::kPartsHelp);
}

constexpr std::string_view kAboutModels =
    R"(Times are medians over --repeat runs, after one that warms up. Random token ids have nothing to attend to: with MODEL, give --text for a
share of skipped tiles that means something.
)";
constexpr std::string_view kPrefillExamples =
    R"(  hopskip bench prefill smollm2-135m --ctx 2048,8192 --skip 0,3,30 --text book.txt
  hopskip bench prefill --shape llama-3.1-8b --ctx 32768,131072 --skip-share 0,0.5,0.75 --device cuda)";
constexpr std::string_view kDecodeAbout =
    R"(With MODEL, times are medians over --repeat runs of -n tokens. Random token ids have nothing to attend to: give
--text for a share of skipped tiles that means something. With --shape, they are medians over -n steps.
)";
constexpr std::string_view kDecodeExamples =
    R"(  hopskip bench decode smollm2-135m --ctx 4096 --skip 0,1 -n 32 --text book.txt --csv decode.csv
  hopskip bench decode --shape qwen3-30b-a3b --ctx 8192,32768 --batch 1,8,64 -n 64 --device cuda)";
constexpr std::string_view kThroughputAbout =
    R"(All requests are there from the start; the engine runs as many at a time as --running and its KV cache allow,
prefill and decode mixed. tokens/s counts prompts and output. Before, as many requests warm the engine up.
)";
constexpr std::string_view kThroughputExamples =
    R"(  hopskip bench throughput --shape llama-3.1-8b --ctx 8192 -n 256 --requests 64 --device cuda)";

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Prefill: the time for a prompt of `ctx` tokens. Decode: the time per token behind such a prompt,
// which is itself computed densely, once for each factor, and then found again in the KV cache.
struct BenchCommand {
  BenchCommand(CLI::App& app, Phase measured)
      : phase(measured),
        model(app, kParts),
        common(app),
        shape(app, measured == Phase::kPrefill ? ShapeMeasure::kPrefill : ShapeMeasure::kDecode,
              app.get_option("MODEL")) {
    CLI::Option* named_shape = app.get_option("--shape");
    app.add_option("--skip", factors, "Factors to compare, with MODEL; 0 is dense")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->capture_default_str()
        ->excludes(named_shape);
    app.add_option("--repeat", repeats, "Runs of each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--text", text_file, "Take the prompt from this text; default: random ids")
        ->type_name("FILE")
        ->check(is_file_name())
        ->excludes(named_shape);
    if (phase == Phase::kDecode) {
      app.add_option("-n", new_tokens, "Tokens to decode")
          ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
          ->capture_default_str();
    }
    app.footer(phase == Phase::kDecode ? footer(kDecodeAbout, help_with_parts(), kDecodeExamples)
                                       : footer(kAboutModels, help_with_parts(), kPrefillExamples));
  }

  // text: of text_file.
  std::vector<int32_t> make_tokens(const LLM& llm, const std::string& text, int64_t count) const {
    if (!text_file) {
      std::mt19937_64 random(common.seed);
      std::vector<int32_t> tokens(count);
      for (int32_t& token : tokens) {
        token = static_cast<int32_t>(random() % llm.info().vocab_size);
      }
      return tokens;
    }
    std::vector<int32_t> tokens = llm.encode(text);
    check(static_cast<int64_t>(tokens.size()) >= count, ErrorCode::kInvalidArgument,
          "{} has {} tokens, too few for --ctx {}", *text_file, tokens.size(), count);
    tokens.resize(count);
    return tokens;
  }

  GenerateParams params_for(double factor) const {
    PerPhase<double> factors_of_phase{};
    factors_of_phase[phase] = factor;
    return {.max_tokens = phase == Phase::kDecode ? new_tokens : 0,
            .ignore_eos = true,
            .sparse_attention = SkipSoftmaxConfig{.threshold_scale_factor = factors_of_phase}};
  }

  // Seconds of one run: of the prompt, or per decoded token.
  double seconds(const GenerationStats& stats) const {
    return phase == Phase::kDecode ? stats.tpot_s() : stats.ttft_s();
  }

  void operator()() const {
    if (shape.chosen()) {
      shape(common.for_shape(repeats, new_tokens, model));
      return;
    }
    check(!model.model().empty(), ErrorCode::kInvalidArgument,
          "give a MODEL, or --shape NAME for random weights in a known shape");
    for (double factor : factors) {
      validate(SkipSoftmaxConfig{.threshold_scale_factor = PerPhase<double>{factor, factor}});
    }
    if (common.csv_file) {
      check_writable(*common.csv_file);
    }
    LLMOptions options = model.options();
    check(
        !options.sparse_attention.threshold_scale_factor &&
            !options.sparse_attention.target_sparsity,
        ErrorCode::kInvalidArgument,
        "sparse_attention_config has no say in a benchmark: --skip says which factors to compare");
    std::string text;
    if (text_file) {
      text = read_file(*text_file);
      check_text(text, *text_file);
    }
    options.context = *std::max_element(common.contexts.begin(), common.contexts.end()) +
                      (phase == Phase::kDecode ? new_tokens : 0);
    options.prefix_reuse = phase == Phase::kDecode;
    LLM llm = open_llm(options, common.report.shows_progress());
    fmt::print(stderr, "{} on {}, KV cache {}\n", llm.info().model, llm.info().device,
               llm.info().kv_dtype);
    print_notices(llm.info());
    std::set<std::string> notices;
    const std::vector<Run> runs = measure(llm, text, notices);
    const auto dense = [](const Run& run) { return run.factor == 0.0; };
    if (std::none_of(runs.begin(), runs.end(), dense)) {
      notices.insert("speed-up is against the dense run: --skip 0,… makes one");
    }
    const Table table = report(runs, llm.info());
    fmt::print("{}", table.text(kTextColumns));
    for (const std::string& notice : notices) {
      fmt::print(stderr, "note  {}\n", notice);
    }
    if (common.csv_file) {
      write_file(*common.csv_file, table.csv());
    }
  }

  // Of one length and factor.
  struct Run {
    int64_t context;
    double factor;
    std::optional<double> seconds;  // nothing: it does not fit
    double sparsity = 0.0;
  };

  std::vector<Run> measure(LLM& llm, const std::string& text,
                           std::set<std::string>& notices) const {
    std::vector<std::vector<int32_t>> prompts;  // all first: the text may be too short for one
    for (int64_t context : common.contexts) {
      prompts.push_back(make_tokens(llm, text, context));
    }
    const int64_t total = static_cast<int64_t>(prompts.size() * factors.size()) * repeats;
    int64_t done = 0;
    std::vector<Run> runs;
    Progress bar(common.report.shows_progress(), std::string(phase_name(phase)), "runs");
    for (const std::vector<int32_t>& prompt : prompts) {
      const int64_t context = std::ssize(prompt);
      const int64_t needed = context + (phase == Phase::kDecode ? new_tokens : 0);
      const bool fits = needed <= llm.info().context;
      if (!fits) {
        notices.insert(fmt::format("ctx {}: {} tokens do not fit the KV cache of {}{}", context,
                                   needed, llm.info().context,
                                   model.options().kv_tokens > 0 ? " (--kv-tokens)" : ""));
      }
      for (double factor : factors) {
        Run& run = runs.emplace_back(Run{context, factor, std::nullopt});
        std::vector<double> times;
        if (fits) {  // the first run of a kind finds memory and caches cold
          const auto end = prompt.begin() + std::min(context, kWarmUpTokens);
          GenerateParams params = params_for(factor);
          params.max_tokens = std::min(params.max_tokens, kWarmUpSteps);
          llm.generate(std::vector<int32_t>(prompt.begin(), end), params);
        }
        for (int repeat = 0; fits && repeat < repeats; ++repeat) {
          const Output output = llm.generate(prompt, params_for(factor));
          times.push_back(seconds(output.stats));
          run.sparsity = output.stats.phases[phase].total().sparsity();
          notices.insert(output.stats.notices.begin(), output.stats.notices.end());
          bar.update(++done, total);
        }
        if (fits) {
          run.seconds = median(times);
        }
      }
    }
    return runs;
  }

  // The last columns are for the CSV.
  Table report(const std::vector<Run>& runs, const ModelInfo& info) const {
    Table table({"ctx", "factor", phase == Phase::kDecode ? "ms/token" : "seconds", "tokens/s",
                 "skipped", "speed-up", "kv_dtype", "seed"});
    for (const Run& run : runs) {
      std::vector<std::string> row{fmt::format("{}", run.context), fmt::format("{:g}", run.factor)};
      if (run.seconds) {
        const double time = *run.seconds;
        const auto dense = std::find_if(runs.begin(), runs.end(), [&](const Run& other) {
          return other.context == run.context && other.factor == 0.0;
        });
        row.push_back(phase == Phase::kDecode ? fmt::format("{:.2f}", 1000.0 * time)
                                              : fmt::format("{:.3f}", time));
        row.push_back(fmt::format(
            "{:.1f}", (phase == Phase::kDecode ? 1.0 : static_cast<double>(run.context)) / time));
        row.push_back(percent(run.sparsity));
        row.push_back(dense == runs.end() ? "-" : fmt::format("{:.2f}x", *dense->seconds / time));
      }
      row.resize(kTextColumns, "-");
      row.push_back(info.kv_dtype);
      row.push_back(text_file ? "" : fmt::format("{}", common.seed));
      table.add(std::move(row));
    }
    return table;
  }

  static constexpr size_t kTextColumns = 6;
  static constexpr int64_t kWarmUpTokens = 2048;
  static constexpr int64_t kWarmUpSteps = 4;
  static constexpr ModelFlagParts kParts{
      .model_required = false, .context = false, .sparse = false, .profile = false};

  Phase phase;
  ModelFlags model;
  CommonFlags common;
  ShapeBench shape;
  std::vector<double> factors{0.0, 3.0, 30.0};
  int repeats = 3;
  int64_t new_tokens = 32;
  std::optional<std::string> text_file;
};

// Many requests through the engine at once.
struct ThroughputCommand {
  explicit ThroughputCommand(CLI::App& app)
      : model(app, kParts), common(app), shape(app, ShapeMeasure::kThroughput, nullptr) {
    app.add_option("-n", new_tokens, "Tokens that each request generates")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
        ->capture_default_str();
    app.footer(footer(kThroughputAbout, ShapeBench::kHelp, kThroughputExamples));
  }
  void operator()() const { shape(common.for_shape(1, new_tokens, model)); }

  static constexpr ModelFlagParts kParts{
      .model = false, .context = false, .sparse = false, .profile = false};

  ModelFlags model;
  CommonFlags common;
  ShapeBench shape;
  int64_t new_tokens = 128;
};

}  // namespace

Action add_bench(CLI::App& app) {
  app.require_subcommand(1);
  app.footer(fmt::format("Examples:\n{}\n{}\n{}\n{}", kPrefillExamples, kDecodeExamples,
                         kThroughputExamples,
                         "  hopskip bench attention --ctx 8192 --cold 0,0.5,0.75"));
  std::map<const CLI::App*, Action> actions;
  const auto add = [&](const char* name, const char* summary, Phase phase) {
    CLI::App* sub = app.add_subcommand(name, summary);
    actions[sub] = [command = std::make_shared<BenchCommand>(*sub, phase)] { (*command)(); };
  };
  add("prefill", "Time to compute a prompt", Phase::kPrefill);
  add("decode", "Time per token behind a prompt", Phase::kDecode);
  CLI::App* throughput =
      app.add_subcommand("throughput", "Tokens per second of many requests at once");
  actions[throughput] = [command = std::make_shared<ThroughputCommand>(*throughput)] {
    (*command)();
  };
  CLI::App* attention = app.add_subcommand("attention", "The attention kernel alone");
  actions[attention] = add_bench_attention(*attention);
  return [&app, actions] { actions.at(app.get_subcommands().front())(); };
}

}  // namespace hopskip::apps
