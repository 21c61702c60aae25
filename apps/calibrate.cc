// hopskip calibrate: from a text to the profile that --target-sparsity reads.
#include "calibrate/calibrate.h"

#include <fmt/format.h>

#include <memory>

#include "attention/profile.h"
#include "base/check.h"
#include "command.h"
#include "files.h"
#include "flag_checks.h"
#include "model_flags.h"
#include "progress.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter =
    R"(Runs windows of the text at each factor, fits factor = a * exp(b * sparsity) for prefill and for decode, and verifies
that the fitted factors skip what was asked for, at the full length and at shorter ones. The profile holds for this
model, on this kind of device, from the shortest verified length on; --target-sparsity reads it through --profile.

Examples:
  hopskip calibrate smollm2-135m --text book.txt -o profile.json
  hopskip calibrate model.gguf --text a.txt --text b.txt --target-sparsity prefill=0.6 \
      --prefill-factors 10,30,100,300,1000 --windows 4 -o profile.json)";

struct CalibrateCommand {
  explicit CalibrateCommand(CLI::App& app) : model(app, {.sparse = false, .profile = false}) {
    app.add_option("--text", text_files, "The text; again: more of it; -: from stdin")
        ->allow_extra_args(false)
        ->type_name("FILE")
        ->check(is_file_name())
        ->required();
    app.add_option("-o,--output", profile_file, "Where the profile goes")
        ->type_name("FILE")
        ->check(is_file_name())
        ->required();
    app.add_option("--target-sparsity", target,
                   "Where the fit shall be best; prefill=S alone leaves decode out; default 0.5")
        ->type_name("S");
    app.add_option("--length", options.length, "Tokens of a window; default: 8192 or the context")
        ->check(is_whole_number())
        ->type_name("N");
    app.add_option("--windows", options.windows, "Windows of the text")
        ->check(is_whole_number())
        ->capture_default_str();
    app.add_option("--decode-tokens", options.decode_tokens, "Tokens of a window that are decoded")
        ->check(is_whole_number())
        ->capture_default_str();
    app.add_option("--prefill-factors", options.factors.prefill, "Factors to measure prefill at")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("F,F,...")
        ->capture_default_str();
    app.add_option("--decode-factors", options.factors.decode, "Factors to measure decode at")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("F,F,...")
        ->capture_default_str();
    app.add_flag("--progress,!--no-progress", progress,
                 "A bar for whatever takes over two seconds, on a terminal");
    app.footer(kFooter);
  }

  void operator()() const {
    LLMOptions llm_options = model.options();
    llm_options.sparse_attention = {};  // the factors to measure are given with each request
    llm_options.profile = {};
    CalibrationOptions chosen = options;
    if (target) {
      chosen.target = parse_per_phase("--target-sparsity", *target);
    }
    validate(SkipSoftmaxConfig{.target_sparsity = chosen.target});
    std::string text;
    for (const std::string& file : text_files) {
      const std::string part = read_file(file);
      check_text(part, file);
      text += part;
    }
    check_writable(profile_file);
    LLM llm = open_llm(llm_options, progress && stderr_is_terminal());
    print_notices(llm.info());
    Progress bar(progress && stderr_is_terminal(), "calibrate", "tokens");
    const Calibration result =
        calibrate(llm, llm.encode(text), chosen, [&](int64_t d, int64_t t) { bar.update(d, t); });
    bar.clear();
    print(chosen, result);
    write_file(profile_file, to_json(result.profile) + "\n");
  }

  void print(const CalibrationOptions& chosen, const Calibration& result) const {
    const SkipProfile& profile = result.profile;
    Table points({"phase", "factor", "skipped", "fitted"});
    Table verified({"phase", "tokens", "factor", "skipped", "asked for", "holds"});
    std::string fits;
    for (Phase phase : kPhases) {
      if (!profile.fit[phase]) {
        continue;
      }
      const std::string name(phase_name(phase));
      const SkipFit& fit = *profile.fit[phase];
      for (const SkipPoint& point : result.points[phase]) {
        points.add({name, fmt::format("{:g}", point.factor), percent(point.sparsity),
                    percent(expected_sparsity(fit, point.factor))});
      }
      const double factor = factor_for_sparsity(profile, phase, chosen.target[phase]);
      for (const Verification& row : result.verified) {
        verified.add({name, fmt::format("{}", row.length), fmt::format("{:.3g}", factor),
                      percent(row.sparsity[phase]), percent(chosen.target[phase]),
                      row.holds ? "yes" : "no"});
      }
      fits += fmt::format("{}: factor = {:.4g} * exp({:.4g} * sparsity), tiles {}\n", name, fit.a,
                          fit.b, to_string(profile.plan[phase].value()));
    }
    fmt::print("{}\n{}\n{}{}, from {} tokens on, in {}\n", points.text(), verified.text(), fits,
               profile.model, profile.min_context, profile_file);
  }

  ModelFlags model;
  std::vector<std::string> text_files;
  std::string profile_file;
  std::optional<std::string> target;
  CalibrationOptions options;
  bool progress = true;
};

}  // namespace

Action add_calibrate(CLI::App& app) {
  return [command = std::make_shared<CalibrateCommand>(app)] { (*command)(); };
}

}  // namespace hopskip::apps
