// The methods of strings and dicts, some of which are filters too.
#ifndef HOPSKIP_TEXT_TEMPLATE_METHODS_H_
#define HOPSKIP_TEXT_TEMPLATE_METHODS_H_

#include <string_view>

#include "text/template_machine.h"
#include "text/template_value.h"

namespace hopskip::jinja {

// A method of `object` as a callable; undefined when it has none of that name.
Value find_method(const Value& object, std::string_view name);

Value strip(Machine& machine, const Value& self, const Arguments& arguments);
Value replace(Machine& machine, const Value& self, const Arguments& arguments);
Value dict_items(Machine& machine, const Value& self, const Arguments& arguments);

// The elements of `sequence`, or `attribute` of each, as text with `separator` between.
Value join(Machine& machine, const Value& sequence, std::string_view separator,
           const Value* attribute);

template <std::string (*change)(std::string_view)>
Value on_text(Machine& machine, const Value& self, const Arguments&) {
  return machine.string(change(to_text(machine, self)));
}

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_METHODS_H_
