// hopskip chat: a conversation on the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>

#include "base/check.h"
#include "command.h"
#include "files.h"
#include "flag_names.h"
#include "generate_flags.h"
#include "model_flags.h"
#include "report.h"
#include "stream.h"

namespace hopskip::apps {
namespace {

constexpr const char* kFooter = R"(Ctrl-C stops the answer, Ctrl-D or /exit ends the program.

Examples:
  hopskip chat smollm2-135m
  hopskip chat model.gguf --system "Answer in one sentence." --temp 0.7)";

constexpr const char* kHelp =
    "/reset  forget the conversation\n"
    "/stats  what the last answer took\n"
    "/exit   end (so does Ctrl-D)\n"
    "Ctrl-C stops an answer.\n";

constexpr double kPollSeconds = 0.05;  // how soon Ctrl-C is seen

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler writes it

// While it lives, Ctrl-C sets `interrupted` and ends a blocking read.
class InterruptGuard {
 public:
  InterruptGuard() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptGuard() { sigaction(SIGINT, &before_, nullptr); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction before_ {};
};

struct ChatCommand {
  explicit ChatCommand(CLI::App& app) : app(app), model(app) {
    params.max_tokens = 1024;
    app.add_option("--system", system, "A system message")->type_name("TEXT");
    add_sampling_flags(app, params);
    add_report_flags(app, report);
    app.footer(kFooter);
  }

  void operator()() const {
    check_sampling(app, params);
    if (report.stats_file) {
      check_writable(*report.stats_file);
    }
    LLM llm = open_llm(model.options(), report.shows_progress());
    check(llm.info().has_chat_template, ErrorCode::kUnsupported,
          "{} has no chat template: use 'hopskip run'", llm.info().model);
    const InterruptGuard guard;
    std::vector<ChatMessage> history = fresh_history();
    std::optional<Output> last;
    fmt::print(stderr, "{} on {}, KV cache {}; /help\n", llm.info().model, llm.info().device,
               llm.info().kv_dtype);
    print_notices(llm.info());
    std::string line;
    while (read_line(line)) {
      if (line == "/exit" || line == "/quit") {
        break;
      }
      if (line == "/reset") {
        history = fresh_history();
      } else if (line == "/stats") {
        fmt::print(stderr, "{}", last ? summary(llm.info(), *last) : "no answer yet\n");
      } else if (line.starts_with('/')) {
        fmt::print(stderr, "{}", kHelp);
      } else if (!line.empty()) {
        answer(llm, history, line, last);
      }
    }
  }

  std::vector<ChatMessage> fresh_history() const {
    return system ? std::vector<ChatMessage>{{"system", *system}} : std::vector<ChatMessage>{};
  }

  // False at the end of the input.
  static bool read_line(std::string& line) {
    const bool terminal = isatty(STDIN_FILENO) == 1;
    for (;;) {
      if (terminal) {
        fmt::print(stderr, "> ");
      }
      if (std::getline(std::cin, line)) {
        return true;
      }
      if (!interrupted.exchange(false)) {
        return false;
      }
      std::cin.clear();
      clearerr(stdin);
      fmt::print(stderr, "\n");
    }
  }

  void answer(LLM& llm, std::vector<ChatMessage>& history, const std::string& line,
              std::optional<Output>& last) const {
    history.push_back({"user", line});
    const bool noted = last && !last->stats.notices.empty();
    try {
      check_text(line, "the message");
      last = generate(llm, history);
    } catch (const Error& error) {
      // E.g. the conversation has outgrown the context: say so, and let the user /reset.
      history.pop_back();
      fmt::print(stderr, "hopskip: {}; /reset starts anew\n", with_flags(error.what()));
      return;
    }
    history.push_back({"assistant", last->text});
    for (size_t i = 0; !noted && i < last->stats.notices.size(); ++i) {
      fmt::print(stderr, "note     {}\n", last->stats.notices[i]);
    }
    if (report.stats_file) {
      write_file(*report.stats_file, stats_json(llm.info(), *last));
    }
  }

  Output generate(LLM& llm, const std::vector<ChatMessage>& history) const {
    Progress bar(report.shows_progress(), "prefill", "tokens");
    interrupted = false;
    Generation generation = llm.submit(history, params, stream_events(bar));
    while (!generation.wait_for(kPollSeconds)) {
      if (interrupted.exchange(false)) {
        generation.cancel();
      }
    }
    end_stream(bar);
    return generation.wait();
  }

  const CLI::App& app;
  ModelFlags model;
  std::optional<std::string> system;
  GenerateParams params;
  ReportFlags report;
};

}  // namespace

Action add_chat(CLI::App& app) {
  return [command = std::make_shared<ChatCommand>(app)] { (*command)(); };
}

}  // namespace hopskip::apps
