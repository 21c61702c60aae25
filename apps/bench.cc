// hopskip bench: speed, at several lengths and factors.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "attention/profile.h"
#include "base/check.h"
#include "command.h"
#include "files.h"
#include "generate_flags.h"
#include "model_flags.h"
#include "progress.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter =
    R"(Times are medians over --repeat runs. Random token ids have nothing to attend to: give --text for a share of
skipped tiles that means something.

Examples:
  hopskip bench prefill smollm2-135m --ctx 2048,8192 --skip 0,100,1000 --text book.txt
  hopskip bench decode smollm2-135m --ctx 4096 --skip 0,100 -n 32 --text book.txt --csv decode.csv)";

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Prefill: the time for a prompt of `ctx` tokens. Decode: the time per token behind such a prompt,
// which is itself computed densely, once for each factor, and then found again in the KV cache.
struct BenchCommand {
  BenchCommand(CLI::App& app, Phase measured) : phase(measured), model(app, kParts) {
    app.add_option("--ctx", contexts, "Prompt lengths in tokens")
        ->delimiter(',')
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 30))
        ->capture_default_str();
    app.add_option("--skip", factors, "Factors to compare; 0 is dense")
        ->delimiter(',')
        ->capture_default_str();
    app.add_option("--repeat", repeats, "Runs of each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--text", text_file, "Take the prompt from this text; default: random ids")
        ->type_name("FILE");
    app.add_option("--seed", seed, "Of the random ids")->capture_default_str();
    app.add_option("--csv", csv_file, "Write the table here too")->type_name("FILE");
    if (phase == Phase::kDecode) {
      app.add_option("-n", new_tokens, "Tokens to decode")
          ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
          ->capture_default_str();
    }
    app.add_flag("--progress,!--no-progress", report.progress,
                 "A bar for whatever takes over two seconds, on a terminal");
    app.footer(kFooter);
  }

  std::vector<int32_t> make_tokens(const LLM& llm, int64_t count) const {
    if (!text_file) {
      std::mt19937_64 random(seed);
      std::vector<int32_t> tokens(count);
      for (int32_t& token : tokens) {
        token = static_cast<int32_t>(random() % llm.info().vocab_size);
      }
      return tokens;
    }
    const std::string text = read_file(*text_file);
    check_text(text, *text_file);
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
    for (double factor : factors) {
      validate(SkipSoftmaxConfig{.threshold_scale_factor = PerPhase<double>{factor, factor}});
    }
    if (csv_file) {
      check_writable(*csv_file);
    }
    LLMOptions options = model.options();
    options.context = *std::max_element(contexts.begin(), contexts.end()) +
                      (phase == Phase::kDecode ? new_tokens : 0);
    options.prefix_reuse = phase == Phase::kDecode;
    LLM llm = open_llm(options, report.shows_progress());
    fmt::print(stderr, "{} on {}\n", llm.info().model, llm.info().device);
    Table table({"ctx", "factor", phase == Phase::kDecode ? "ms/token" : "seconds", "tokens/s",
                 "skipped", "speed-up"});
    const int64_t total = static_cast<int64_t>(contexts.size() * factors.size()) * repeats;
    int64_t done = 0;
    std::set<std::string> notices;
    Progress bar(report.shows_progress(), std::string(phase_name(phase)), "runs");
    for (int64_t context : contexts) {
      const std::vector<int32_t> tokens = make_tokens(llm, context);
      double first = 0.0;  // of the first factor, which the others are compared with
      for (double factor : factors) {
        std::vector<double> times;
        double sparsity = 0.0;
        for (int repeat = 0; repeat < repeats; ++repeat) {
          const Output output = llm.generate(tokens, params_for(factor));
          times.push_back(seconds(output.stats));
          sparsity = output.stats.phases[phase].total().sparsity();
          notices.insert(output.stats.notices.begin(), output.stats.notices.end());
          bar.update(++done, total);
        }
        const double time = median(times);
        first = first == 0.0 ? time : first;
        const double tokens_per_s =
            (phase == Phase::kDecode ? 1.0 : static_cast<double>(context)) / time;
        table.add({fmt::format("{}", context), fmt::format("{:g}", factor),
                   phase == Phase::kDecode ? fmt::format("{:.2f}", 1000.0 * time)
                                           : fmt::format("{:.3f}", time),
                   fmt::format("{:.1f}", tokens_per_s), percent(sparsity),
                   fmt::format("{:.2f}x", first / time)});
      }
    }
    bar.clear();
    fmt::print("{}", table.text());
    for (const std::string& notice : notices) {
      fmt::print(stderr, "note  {}\n", notice);
    }
    if (csv_file) {
      write_file(*csv_file, table.csv());
    }
  }

  static constexpr ModelFlagParts kParts{.context = false, .sparse = false, .profile = false};

  Phase phase;
  ModelFlags model;
  std::vector<int64_t> contexts{1024};
  std::vector<double> factors{0.0, 100.0, 1000.0};
  int repeats = 3;
  int64_t new_tokens = 32;
  uint64_t seed = 0;
  std::optional<std::string> text_file, csv_file;
  ReportFlags report;
};

}  // namespace

Action add_bench(CLI::App& app) {
  app.require_subcommand(1);
  std::map<const CLI::App*, Action> actions;
  const auto add = [&](const char* name, const char* summary, Phase phase) {
    CLI::App* sub = app.add_subcommand(name, summary);
    actions[sub] = [command = std::make_shared<BenchCommand>(*sub, phase)] { (*command)(); };
  };
  add("prefill", "Time to compute a prompt", Phase::kPrefill);
  add("decode", "Time per token behind a prompt", Phase::kDecode);
  CLI::App* attention = app.add_subcommand("attention", "The attention kernel alone");
  actions[attention] = add_bench_attention(*attention);
  return [&app, actions] { actions.at(app.get_subcommands().front())(); };
}

}  // namespace hopskip::apps
