// The flags of how tokens are chosen and what is reported about it.
#ifndef HOPSKIP_APPS_GENERATE_FLAGS_H_
#define HOPSKIP_APPS_GENERATE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "hopskip/llm.h"

namespace hopskip::apps {

// -n, --temp, --top-k, …: fills in the parameters as the command line is read.
void add_sampling_flags(CLI::App& app, GenerateParams& params);

// Before a model is loaded: throws InvalidArgument for parameters that are out of range, and says
// on stderr which of the flags do nothing. app: where they were added, its command line read.
void check_sampling(const CLI::App& app, const GenerateParams& params);

struct ReportFlags {
  std::optional<std::string> stats_file;
  bool progress = true;

  // A bar is wanted and stderr is a terminal.
  bool shows_progress() const;
};
void add_report_flags(CLI::App& app, ReportFlags& flags);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_GENERATE_FLAGS_H_
