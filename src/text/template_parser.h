// Builds the tree of a template from its tokens.
#ifndef HOPSKIP_TEXT_TEMPLATE_PARSER_H_
#define HOPSKIP_TEXT_TEMPLATE_PARSER_H_

#include <string_view>

#include "text/template_ast.h"

namespace hopskip::jinja {

// Throws Corrupt for a syntax error, Unsupported for Jinja2 outside the subset; both name the line.
// max_depth bounds the nesting of expressions and blocks.
Block parse_template(std::string_view source, int max_depth);

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_PARSER_H_
