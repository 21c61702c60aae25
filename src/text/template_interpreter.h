// Runs the tree of a template.
#ifndef HOPSKIP_TEXT_TEMPLATE_INTERPRETER_H_
#define HOPSKIP_TEXT_TEMPLATE_INTERPRETER_H_

#include <string>

#include "text/template_ast.h"
#include "text/template_machine.h"

namespace hopskip::jinja {

// A for loop: what `loop` means in its body. A template can keep it in a namespace beyond the end
// of the loop, so it lives as long as the rendering.
struct Loop {
  std::vector<Value> items;  // empty after the end
  size_t index;              // from 0
  int depth;
  Value attribute(std::string_view name) const;  // undefined for an unknown one
};

// `variables` is a dict.
std::string run_template(Machine& machine, const Block& block, const Value& variables);

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_INTERPRETER_H_
