// A subcommand of `hopskip`: one file each, one row in main.cc.
#ifndef HOPSKIP_APPS_COMMAND_H_
#define HOPSKIP_APPS_COMMAND_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace hopskip::apps {

// What runs once the command line is read.
using Action = std::function<void()>;

// Each adds its flags to `app` and returns its action.
Action add_run(CLI::App& app);
Action add_chat(CLI::App& app);
Action add_info(CLI::App& app);
Action add_bench(CLI::App& app);
Action add_bench_attention(CLI::App& app);  // below bench
Action add_eval(CLI::App& app);
Action add_calibrate(CLI::App& app);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_COMMAND_H_
