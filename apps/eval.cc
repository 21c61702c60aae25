// hopskip eval: quality, at several sparsities.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "attention/profile.h"
#include "base/check.h"
#include "command.h"
#include "eval/perplexity.h"
#include "files.h"
#include "flag_checks.h"
#include "generate_flags.h"
#include "model_flags.h"
#include "progress.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter =
    R"(ppl cuts the text into windows, predicts every token and prints perplexity (lower is better) and the share of tiles
that was skipped, for each factor or sparsity of a list. --decode-from N feeds the rest of a window token by token,
so that the decode factor is measured too; the column 'decode ppl' is of those tokens alone.

Examples:
  hopskip eval smollm2-135m ppl --text book.txt --threshold-scale-factor 0,3,30
  hopskip eval model.gguf ppl --text book.txt --windows 2 --length 4096 --decode-from 3840 \
      --threshold-scale-factor 0 --threshold-scale-factor prefill=30,decode=1 -o report/)";

using Json = nlohmann::ordered_json;

struct Row {
  SkipSoftmaxConfig config;
  PerplexityResult result;
};

struct EvalCommand {
  explicit EvalCommand(CLI::App& app) : model(app, {.sparse = false}) {
    app.add_option("TASK", task, "What to measure: ppl")->required()->check(CLI::IsMember({"ppl"}));
    app.add_option("--text", text_file, "The text; -: from stdin")
        ->type_name("FILE")
        ->check(is_file_name())
        ->required();
    app.add_option("--windows", options.windows, "Windows of the text")
        ->check(is_whole_number())
        ->capture_default_str();
    app.add_option("--length", options.length, "Tokens of a window")
        ->check(is_whole_number())
        ->capture_default_str();
    app.add_option("--decode-from", options.decode_from, "Decode a window from this token on")
        ->check(is_whole_number());
    CLI::Option* factor_option =
        app.add_option("--threshold-scale-factor", factors,
                       "Factors to compare: N,N,… or, given again, prefill=N,decode=M")
            ->allow_extra_args(false)
            ->type_name("LIST")
            ->group("Skip Softmax");
    app.add_option("--target-sparsity", targets, "Sparsities to compare, by a profile")
        ->allow_extra_args(false)
        ->type_name("LIST")
        ->group("Skip Softmax")
        ->excludes(factor_option);
    app.add_option("-o,--output", folder, "Write TASK.json and TASK.csv into this folder")
        ->type_name("FOLDER")
        ->check(is_file_name());
    app.add_flag("--progress,!--no-progress", report.progress,
                 "A bar for whatever takes over two seconds, on a terminal");
    app.footer(kFooter);
  }

  // What to compare: the lists of the flags, else what the settings say.
  std::vector<SkipSoftmaxConfig> configs(const LLMOptions& llm_options) const {
    std::vector<SkipSoftmaxConfig> list;
    for (const auto& factor : parse_per_phase_list("--threshold-scale-factor", factors)) {
      list.push_back({.threshold_scale_factor = factor});
    }
    for (const auto& target : parse_per_phase_list("--target-sparsity", targets)) {
      list.push_back({.target_sparsity = target});
    }
    if (list.empty()) {
      list.push_back(llm_options.sparse_attention);
    }
    for (const SkipSoftmaxConfig& config : list) {
      validate(config);
    }
    return list;
  }

  void operator()() const {
    LLMOptions llm_options = model.options();
    llm_options.prefix_reuse = false;  // a window would find its keys computed at another sparsity
    const std::vector<SkipSoftmaxConfig> list = configs(llm_options);
    const std::string text = read_file(text_file);
    check_text(text, text_file);
    if (!folder.empty()) {
      make_folder(folder);
      check_writable(path("json"));
    }
    LLM llm = open_llm(llm_options, report.shows_progress());
    print_notices(llm.info());
    const std::vector<int32_t> tokens = llm.encode(text);
    std::vector<Row> rows;
    for (size_t i = 0; i < list.size(); ++i) {
      PerplexityOptions one = options;
      one.sparse_attention = list[i];
      Progress bar(report.shows_progress(), fmt::format("{} {}/{}", task, i + 1, list.size()),
                   "tokens");
      rows.push_back({list[i], measure_perplexity(llm, tokens, one, [&](int64_t d, int64_t t) {
                        bar.update(d, t);
                      })});
    }
    print(llm.info(), rows);
  }

  std::string path(const std::string& extension) const {
    return (std::filesystem::path(folder) / (task + "." + extension)).string();
  }

  void print(const ModelInfo& info, const std::vector<Row>& rows) const {
    Table table({"prefill factor", "decode factor", "perplexity", "decode ppl", "prefill skipped",
                 "decode skipped", "seconds"});
    Table csv({"prefill_factor", "decode_factor", "perplexity", "decode_perplexity",
               "prefill_sparsity", "decode_sparsity", "seconds", "kv_dtype"});
    Json results = Json::array();
    std::vector<std::string> notices;
    for (const Row& row : rows) {
      const PerplexityResult& r = row.result;
      const bool decodes = r.scores.decode.tokens > 0;
      const PerPhase<double> factor = r.threshold_scale_factor;
      table.add(
          {fmt::format("{:g}", factor.prefill), decodes ? fmt::format("{:g}", factor.decode) : "-",
           fmt::format("{:.4f}", r.perplexity()),
           decodes ? fmt::format("{:.4f}", r.scores.decode.perplexity()) : "-",
           percent(r.counts.prefill.sparsity()),
           decodes ? percent(r.counts.decode.sparsity()) : "-", fmt::format("{:.1f}", r.seconds)});
      csv.add({fmt::format("{}", factor.prefill), fmt::format("{}", factor.decode),
               fmt::format("{:.6f}", r.perplexity()),
               decodes ? fmt::format("{:.6f}", r.scores.decode.perplexity()) : "",
               fmt::format("{:.6f}", r.counts.prefill.sparsity()),
               decodes ? fmt::format("{:.6f}", r.counts.decode.sparsity()) : "",
               fmt::format("{:.3f}", r.seconds), info.kv_dtype});
      results.push_back(to_json(r));
      notices.insert(notices.end(), r.notices.begin(), r.notices.end());
    }
    fmt::print(stderr, "{} on {}, KV cache {}\n", info.model, info.device, info.kv_dtype);
    fmt::print("{}", table.text());
    for (const std::string& notice : notices) {
      fmt::print(stderr, "note  {}\n", notice);
    }
    if (!folder.empty()) {
      const Json document{
          {"task", task},
          {"model", info.model},
          {"device", info.device},
          {"kv_dtype", info.kv_dtype},
          {"text", text_file},
          {"windows", options.windows},
          {"length", options.length},
          {"decode_from", options.decode_from ? Json(*options.decode_from) : Json()},
          {"results", results}};
      write_file(path("json"), document.dump(2) + "\n");
      write_file(path("csv"), csv.csv());
    }
  }

  static Json to_json(const PerplexityResult& result) {
    Json json{{"perplexity", result.perplexity()}, {"seconds", result.seconds}};
    for (Phase phase : kPhases) {
      json[std::string(phase_name(phase))] = {
          {"threshold_scale_factor", result.threshold_scale_factor[phase]},
          {"perplexity", result.scores[phase].perplexity()},
          {"tokens", result.scores[phase].tokens},
          {"tiles", result.counts[phase].tiles},
          {"skipped", result.counts[phase].skipped},
          {"sparsity", result.counts[phase].sparsity()}};
    }
    return json;
  }

  ModelFlags model;
  std::string task, text_file, folder;
  std::vector<std::string> factors, targets;
  PerplexityOptions options;
  ReportFlags report;
};

}  // namespace

Action add_eval(CLI::App& app) {
  return [command = std::make_shared<EvalCommand>(app)] { (*command)(); };
}

}  // namespace hopskip::apps
