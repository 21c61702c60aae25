// hopskip run: generate once.
#include <fmt/format.h>

#include <memory>

#include "base/check.h"
#include "command.h"
#include "files.h"
#include "flag_checks.h"
#include "generate_flags.h"
#include "model_flags.h"
#include "report.h"
#include "stream.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter =
    R"(The text goes to stdout as it is made, a summary to stderr. An instruct model gets the prompt through its chat
template; --raw gives it the text as it is.

Examples:
  hopskip run smollm2-135m -p "Name three rivers." -n 32
  hopskip run smollm2-135m -f book.txt --threshold-scale-factor 30 --stats stats.json
  git diff | hopskip run model.gguf -f - --system "Summarise this change."
  hopskip run org/name -p "Hello" --temp 0.8 --top-p 0.95 --seed 1)";

struct RunCommand {
  explicit RunCommand(CLI::App& app) : app(app), model(app) {
    CLI::Option* text = app.add_option("-p,--prompt", prompt, "The prompt")->type_name("TEXT");
    app.add_option("-f,--file", file, "Read the prompt from a file; -: from stdin")
        ->type_name("FILE")
        ->check(is_file_name())
        ->excludes(text);
    CLI::Option* raw_flag = app.add_flag("--raw", raw, "No chat template");
    app.add_flag("--chat", chat, "Insist on the chat template")->excludes(raw_flag);
    app.add_option("--system", system, "A system message for the chat template")
        ->type_name("TEXT")
        ->excludes(raw_flag);
    add_sampling_flags(app, params);
    add_report_flags(app, report);
    app.footer(kFooter);
  }

  std::string read_prompt() const {
    check(prompt || file, ErrorCode::kInvalidArgument,
          "a prompt is missing: give -p TEXT or -f FILE");
    const std::string text = prompt ? *prompt : read_file(*file);
    check_text(text, prompt ? "the prompt" : *file == "-" ? "the text on stdin" : *file);
    return text;
  }

  Prompt make_prompt(const ModelInfo& info, std::string text) const {
    const bool templated = info.has_chat_template && !raw;
    check(templated || (!chat && !system), ErrorCode::kInvalidArgument,
          "{} has no chat template, which --{} needs", info.model, chat ? "chat" : "system");
    if (!templated) {
      return text;
    }
    std::vector<ChatMessage> messages;
    if (system) {
      messages.push_back({"system", *system});
    }
    messages.push_back({"user", std::move(text)});
    return messages;
  }

  void operator()() const {
    std::string text = read_prompt();
    check_sampling(app, params);
    if (report.stats_file) {
      check_writable(*report.stats_file);
    }
    LLM llm = open_llm(model.options(), report.shows_progress());
    print_notices(llm.info());
    Progress bar(report.shows_progress(), "prefill", "tokens");
    const Output output =
        llm.generate(make_prompt(llm.info(), std::move(text)), params, stream_events(bar));
    end_stream(bar);
    fmt::print(stderr, "\n{}", summary(llm.info(), output));
    if (report.stats_file) {
      write_file(*report.stats_file, stats_json(llm.info(), output));
    }
  }

  const CLI::App& app;
  ModelFlags model;
  std::optional<std::string> prompt, file, system;
  bool raw = false;
  bool chat = false;
  GenerateParams params;
  ReportFlags report;
};

}  // namespace

Action add_run(CLI::App& app) {
  return [command = std::make_shared<RunCommand>(app)] { (*command)(); };
}

}  // namespace hopskip::apps
