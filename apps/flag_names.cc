#include "flag_names.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace hopskip::apps {
namespace {

struct Name {
  std::string_view words;  // in messages
  std::string_view flag;   // or command
};

// "context" alone is also a word of other sentences, and of file names.
constexpr std::array kNames{
    Name{"raise context", "--ctx"},  Name{"shorter context", "--ctx"},
    Name{"chunk_tokens", "--chunk"}, Name{"kv_tokens", "--kv-tokens"},
    Name{"kv_dtype", "--kv-dtype"},  Name{"by calibration", "'hopskip calibrate'"},
};

// What a word of a sentence may begin or end with; not '=', '.', '/' or a quotation mark, which
// stand in what the user wrote.
bool ends_word(std::string_view text, size_t at) {
  return at >= text.size() || std::string_view(" ,;:()").find(text[at]) != std::string_view::npos;
}

}  // namespace

std::string with_flags(std::string message) {
  for (const Name& name : kNames) {
    for (size_t at = message.find(name.words); at != std::string::npos;
         at = message.find(name.words, at + 1)) {
      const size_t end = at + name.words.size();
      if ((at == 0 || ends_word(message, at - 1)) && ends_word(message, end)) {
        const bool aside = at > 0 && message[at - 1] == '(' && message.compare(end, 1, ")") == 0;
        message.insert(end, aside ? fmt::format(", {}", name.flag)  // "(kv_tokens, --kv-tokens)"
                                  : fmt::format(" ({})", name.flag));
        break;
      }
    }
  }
  return message;
}

}  // namespace hopskip::apps
