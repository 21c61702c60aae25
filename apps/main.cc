// hopskip: the command line. Exit codes: 0 done, 1 failure, 2 wrong use.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <iterator>
#include <map>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "flag_names.h"
#include "hopskip/error.h"
#include "llm/nearest.h"

namespace hopskip::apps {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

struct Command {
  const char* name;
  const char* summary;
  Action (*add)(CLI::App& app);
};

constexpr std::array kCommands{
    Command{"run", "Generate once: text on stdout, a summary on stderr", add_run},
    Command{"chat", "Talk to a model", add_chat},
    Command{"info", "Show this machine, a model, and what would run", add_info},
    Command{"bench", "Measure speed: prefill, decode, throughput, attention", add_bench},
    Command{"eval", "Measure quality: perplexity at several sparsities", add_eval},
    Command{"calibrate", "Measure which factor skips how much: a profile", add_calibrate},
};

constexpr const char* kFooter = R"(Examples:
  hopskip run smollm2-135m -p "Why is the sky blue?" -n 64
  hopskip run model.gguf -f book.txt --threshold-scale-factor prefill=30,decode=1
  hopskip chat smollm2-135m
  hopskip eval smollm2-135m ppl --text book.txt --threshold-scale-factor 0,3,30
  hopskip calibrate model.gguf --text book.txt -o profile.json
  hopskip info smollm2-135m
'hopskip COMMAND --help' explains a command.)";

// One line, whatever a file put into the message: control characters could rewrite a terminal.
int report(int code, std::string message) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  std::replace_if(message.begin(), message.end(), is_control, ' ');
  message.erase(message.find_last_not_of(' ') + 1);
  std::fputs(fmt::format("hopskip: {}\n", message).c_str(), stderr);
  return code;
}

// A standard stream that the caller has closed would hand its number to the next file that is
// opened, and what is printed would end up there. Reading stdin and writing stdout then fail, and
// what goes to stderr is dropped.
void open_closed_streams() {
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      [[maybe_unused]] const int same =
          open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
    }
  }
}

// The exit code after a command that did not fail: its output may still have gone nowhere.
int finish() {
  const bool flushed = std::fflush(stdout) == 0;
  return flushed && std::ferror(stdout) == 0
             ? 0
             : report(kFailure, "stdout cannot be written: the output is incomplete");
}

bool is_flag(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

// What CLI11 says about a value, in this program's words. Its types tell apart what it says itself
// from the same words in a value.
std::string reworded(const CLI::ParseError& error) {
  const std::string message = error.what();
  constexpr std::string_view kNoNumber = "Could not convert: ";  // "FLAG = VALUE"
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr &&
      message.starts_with(kNoNumber)) {
    return fmt::format("{}: no number, or too large a one", message.substr(kNoNumber.size()));
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {  // "FLAG: …", no value
    const std::string flag = message.substr(0, message.find(':'));
    if (message.find("At Most 1 required but received") != std::string::npos) {
      return fmt::format("{}: given more than once, which is once too often", flag);
    }
    if (message.ends_with(" missing")) {
      return fmt::format("{}: a value is missing", flag);
    }
  }
  return message;
}

// What to say of a command line that cannot be read. CLI11 does not say which word it may have been
// meant for.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* deepest = &app;
  std::string path = app.get_name();
  while (!deepest->get_subcommands().empty()) {
    deepest = deepest->get_subcommands().front();
    path += " " + deepest->get_name();
  }
  std::vector<std::string> unknown = deepest->remaining();
  std::string extra;
  // A flag that is not known comes first: the others' errors may follow from the word behind it.
  const bool unknown_flag = std::any_of(unknown.begin(), unknown.end(), is_flag);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    // The words are only in the message: "The following arguments were not expected: b a".
    const std::string message = error.what();
    std::istringstream words(message.substr(message.find(": ") + 1));
    unknown.assign(std::istream_iterator<std::string>(words), {});
  } else if (deepest->get_require_subcommand_min() == 0 && !unknown_flag) {
    extra =
        unknown.empty() ? "" : fmt::format("; '{}' means nothing to '{}'", unknown.front(), path);
    unknown.clear();
  }
  if (unknown.empty()) {
    return fmt::format("{}{} (see '{} --help')", reworded(error), extra, path);
  }
  const auto flag = std::find_if(unknown.begin(), unknown.end(), is_flag);
  const std::string word =
      flag == unknown.end() ? unknown.front() : flag->substr(0, flag->find('='));
  std::vector<std::string> known;
  for (const CLI::Option* option : deepest->get_options()) {
    for (const std::string& name : option->get_lnames()) {
      known.push_back("--" + name);
    }
  }
  for (const CLI::App* sub : deepest->get_subcommands([](const CLI::App*) { return true; })) {
    known.push_back(sub->get_name());
  }
  const std::string near = nearest(word, known);
  return fmt::format("'{}' means nothing to '{}' ({})", word, path,
                     near.empty() ? fmt::format("see '{} --help'", path)
                                  : fmt::format("did you mean '{}'?", near));
}

int run(int argc, char** argv) {
  CLI::App app{
      "Hopskip: LLM inference with Skip Softmax attention.\n"
      "MODEL is a .gguf file, a folder in Hugging Face layout, smollm2-135m, or a hub id that is "
      "in the local cache.",
      "hopskip"};
  app.set_version_flag("--version", HOPSKIP_VERSION);
  app.require_subcommand(1);
  app.footer(kFooter);
  std::map<const CLI::App*, Action> actions;
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    actions[sub] = command.add(*sub);
  }
  try {
    app.parse(argc, argv);
    actions.at(app.get_subcommands().front())();
    return finish();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error);  // --help, --version
      return finish();
    }
    return report(kUsage, explain(app, error));
  } catch (const Error& error) {
    return report(error.code() == ErrorCode::kInvalidArgument ? kUsage : kFailure,
                  with_flags(error.what()));
  } catch (const std::bad_alloc&) {
    return report(kFailure, "out of memory: a smaller --ctx needs less");
  } catch (const std::exception& error) {
    return report(kFailure, error.what());
  }
}

}  // namespace
}  // namespace hopskip::apps

int main(int argc, char** argv) {
  hopskip::apps::open_closed_streams();
  return hopskip::apps::run(argc, argv);
}
