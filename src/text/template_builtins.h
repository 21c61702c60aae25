// The filters, tests, methods and functions that templates may use: one table each.
#ifndef HOPSKIP_TEXT_TEMPLATE_BUILTINS_H_
#define HOPSKIP_TEXT_TEMPLATE_BUILTINS_H_

#include <string_view>

#include "text/template_value.h"

namespace hopskip::jinja {

// Null when there is none of that name.
Function find_filter(std::string_view name);
Function find_test(std::string_view name);  // returns a bool
Function find_global(std::string_view name);

// object[key], or the method of that name, or undefined.
Value get_item(Machine& machine, const Value& object, const Value& key);

// object.name, or undefined.
Value get_attribute(Machine& machine, const Value& object, std::string_view name);

bool contains(Machine& machine, const Value& container, const Value& item);

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_BUILTINS_H_
