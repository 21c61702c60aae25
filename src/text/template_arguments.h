// What the built-in functions of templates want of their arguments.
#ifndef HOPSKIP_TEXT_TEMPLATE_ARGUMENTS_H_
#define HOPSKIP_TEXT_TEMPLATE_ARGUMENTS_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/template_machine.h"
#include "text/template_value.h"

namespace hopskip::jinja {

// A row of a table of functions.
struct Row {
  std::string_view name;
  Function function;
};

inline Function find_row(std::span<const Row> table, std::string_view name) {
  for (const Row& row : table) {
    if (row.name == name) {
      return row.function;
    }
  }
  return nullptr;
}

// These throw where an argument has the wrong type or is missing.

inline const std::string& string_of(Machine& m, const Value& value, std::string_view what) {
  if (value.is_undefined()) {
    m.fail("{}: '{}' is undefined", what, value.get<Undefined>().name);
  }
  if (!value.is_string()) {
    m.fail("{}: expected a string, found a value of type {}", what, value.type_name());
  }
  return value.string();
}

inline std::optional<std::string_view> optional_string(Machine& m, const Arguments& a, size_t index,
                                                       std::string_view name) {
  const Value* value = a.find(index, name);
  if (value == nullptr || value->is_none()) {
    return std::nullopt;
  }
  return string_of(m, *value, name);
}

inline std::string_view need_string(Machine& m, const Arguments& a, size_t index,
                                    std::string_view name) {
  const Value* value = a.find(index, name);
  if (value == nullptr) {
    m.fail("the argument '{}' is missing", name);
  }
  return string_of(m, *value, name);
}

inline int64_t integer_or(Machine& m, const Arguments& a, size_t index, std::string_view name,
                          int64_t otherwise) {
  const Value* value = a.find(index, name);
  if (value == nullptr || value->is_none()) {
    return otherwise;
  }
  if (!value->is_integer()) {
    m.fail("{}: expected an integer, found a value of type {}", name, value->type_name());
  }
  return value->integer();
}

inline bool flag(const Arguments& a, size_t index, std::string_view name) {
  const Value* value = a.find(index, name);
  return value != nullptr && value->truthy();
}

inline Value list_of(Machine& m, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  for (const std::string_view part : parts) {
    items.push_back(m.string(std::string(part)));
  }
  return m.list(std::move(items));
}

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_ARGUMENTS_H_
