#include "generate_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "flag_checks.h"
#include "progress.h"

namespace hopskip::apps {

void add_sampling_flags(CLI::App& app, GenerateParams& params) {
  const auto add = [&](const char* name, auto& value, const char* help, const char* type) {
    return app.add_option(name, value, help)->group("Sampling")->type_name(type);
  };
  SamplingParams& sampling = params.sampling;
  add("-n,--max-tokens", params.max_tokens, "Tokens to generate at most", "N")
      ->check(is_whole_number())
      ->capture_default_str();
  add("--temp,--temperature", sampling.temperature, "0: always the likeliest token", "T")
      ->capture_default_str();
  add("--top-k", sampling.top_k, "Only the K likeliest tokens; 0: all", "K")
      ->check(is_whole_number())
      ->capture_default_str();
  add("--top-p", sampling.top_p, "Only the likeliest tokens that make up P", "P")
      ->capture_default_str();
  add("--min-p", sampling.min_p, "Only tokens at least P times as likely as the likeliest", "P")
      ->capture_default_str();
  add("--repeat-penalty,--repetition-penalty", sampling.repetition_penalty,
      "Above 1: fewer repetitions", "R")
      ->capture_default_str();
  add("--presence-penalty", sampling.presence_penalty, "For tokens the output has, -2 to 2", "R")
      ->capture_default_str();
  add("--frequency-penalty", sampling.frequency_penalty, "For each time it has them, -2 to 2", "R")
      ->capture_default_str();
  add("--seed", sampling.seed, "Same seed, same text", "N")->check(is_seed());
  add("--stop", params.stop, "End before this text; may be given again", "TEXT")
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", params.ignore_eos, "Go on after the end token")->group("Sampling");
}

void check_sampling(const CLI::App& app, const GenerateParams& params) {
  validate(params);
  if (params.sampling.temperature > 0.0) {
    return;
  }
  std::vector<std::string> idle;
  for (const char* flag : {"--top-k", "--top-p", "--min-p", "--seed"}) {
    if (app.count(flag) > 0) {
      idle.emplace_back(flag);
    }
  }
  if (!idle.empty()) {
    fmt::print(stderr,
               "note     temperature is 0, which always takes the likeliest token: {} {} nothing; "
               "--temp 0.8 samples\n",
               fmt::join(idle, ", "), idle.size() == 1 ? "does" : "do");
  }
}

bool ReportFlags::shows_progress() const { return progress && stderr_is_terminal(); }

void add_report_flags(CLI::App& app, ReportFlags& flags) {
  app.add_option("--stats", flags.stats_file, "Write what happened as JSON")
      ->type_name("FILE")
      ->check(is_file_name());
  app.add_flag("--progress,!--no-progress", flags.progress,
               "A bar for whatever takes over two seconds, on a terminal");
}

}  // namespace hopskip::apps
