// Chat templates: the part of Jinja2 that the templates of language models use.
#ifndef HOPSKIP_TEXT_CHAT_TEMPLATE_H_
#define HOPSKIP_TEXT_CHAT_TEMPLATE_H_

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace hopskip {

// A template comes with the model, so it is foreign code: these bound what it may use up.
struct TemplateLimits {
  size_t source_bytes = size_t{1} << 20;
  size_t value_bytes = size_t{64} << 20;  // the output, and any one string made on the way
  int64_t steps = 20'000'000;             // expressions evaluated, values compared, 16 bytes made
  int depth = 64;                         // nested expressions and blocks; nested macro calls
};

// Renders as Hugging Face transformers does: Jinja2 with trim_blocks, lstrip_blocks, loop controls,
// {% generation %}, tojson without HTML escapes, raise_exception() and strftime_now().
class ChatTemplate {
 public:
  // Throws Corrupt naming the line of a syntax error, Unsupported for Jinja2 outside the subset.
  explicit ChatTemplate(std::string source, TemplateLimits limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // `context` is an object whose members are the template's variables: messages,
  // add_generation_prompt, bos_token, eos_token, tools, documents, enable_thinking, … An absent
  // variable is undefined. `now` is what strftime_now() tells, in local time. Throws
  // InvalidArgument naming the line: the template's own raise_exception(), an operation on the
  // wrong type, or a limit reached. May be called from several threads at once.
  std::string render(const nlohmann::ordered_json& context,
                     std::time_t now = std::time(nullptr)) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_CHAT_TEMPLATE_H_
