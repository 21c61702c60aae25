// Cuts the source of a template into tokens.
#ifndef HOPSKIP_TEXT_TEMPLATE_LEXER_H_
#define HOPSKIP_TEXT_TEMPLATE_LEXER_H_

#include <string>
#include <string_view>
#include <vector>

namespace hopskip::jinja {

struct Token {
  enum class Kind {
    kText,         // text between tags
    kOutputBegin,  // {{
    kOutputEnd,    // }}
    kBlockBegin,   // {%
    kBlockEnd,     // %}
    kName,
    kString,  // text: escapes resolved
    kInteger,
    kFloat,
    kOperator,
    kEnd,  // of the template
  };
  Kind kind;
  std::string text;
  int line;
};

// With trim_blocks and lstrip_blocks, as transformers sets them. Comments and {% raw %} are gone
// afterwards. Throws Corrupt naming the line. The last token is kEnd.
std::vector<Token> tokenize_template(std::string_view source);

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_LEXER_H_
