// The values of a chat template: Python's, as far as templates meet them.
#ifndef HOPSKIP_TEXT_TEMPLATE_VALUE_H_
#define HOPSKIP_TEXT_TEMPLATE_VALUE_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hopskip::jinja {

class Value;
class Machine;
struct Macro;
struct Loop;
struct Arguments;

struct Undefined {
  std::string name;  // what was looked for, for messages
};
struct None {};

// Lists and dicts never change after they are made, so values cannot form cycles; `depth` bounds
// every recursion over them, their destructors included.
struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  int depth = 1;
};
struct Dict {
  std::vector<std::pair<std::string, Value>> items;  // in order of insertion
  int depth = 1;
  const Value* find(std::string_view key) const;
};

// The one value that changes. Owned by the machine until the end of the rendering.
struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
  Value* find(std::string_view key);
};

using Function = Value (*)(Machine&, const Value& self, const Arguments&);
struct Callable {
  std::string_view name;
  Function function;
  std::shared_ptr<const Value> self;  // of a method; null: a global function
};

class Value {
 public:
  using Data =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
                   std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*,
                   const Macro*, const Loop*, Callable>;

  Value() = default;
  template <typename T>
  requires(!std::is_same_v<std::remove_cvref_t<T>, Value>) Value(T&& data)
      : data_(std::forward<T>(data)) {}  // NOLINT: a value is its data

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(data_);
  }
  template <typename T>
  const T& get() const {
    return std::get<T>(data_);
  }
  const Data& data() const { return data_; }

  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<None>(); }
  bool is_string() const { return is<std::shared_ptr<const std::string>>(); }
  bool is_list() const { return is<std::shared_ptr<const List>>(); }
  bool is_dict() const { return is<std::shared_ptr<const Dict>>(); }
  bool is_integer() const { return is<int64_t>() || is<bool>(); }  // True is 1
  bool is_number() const { return is_integer() || is<double>(); }

  // Only for a value of that type.
  const std::string& string() const { return *get<std::shared_ptr<const std::string>>(); }
  const List& list() const { return *get<std::shared_ptr<const List>>(); }
  const Dict& dict() const { return *get<std::shared_ptr<const Dict>>(); }
  int64_t integer() const { return is<bool>() ? get<bool>() : get<int64_t>(); }
  double number() const { return is<double>() ? get<double>() : static_cast<double>(integer()); }

  bool truthy() const;
  int depth() const;
  std::string_view type_name() const;  // as Python calls it

 private:
  Data data_;
};

// How a function was called.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // Argument `index`, or that with the name; null when it was not given.
  const Value* find(size_t index, std::string_view name) const;
};

// Python's repr(3.5), shortest digits that read back the same.
std::string float_repr(double value);

// str(value) and repr(value); charge the machine.
std::string to_text(Machine& machine, const Value& value);
std::string to_repr(Machine& machine, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::string indent;      // of one level
  bool multiline = false;  // an indent was given, maybe of width 0
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string to_json(Machine& machine, const Value& value, const JsonStyle& style);

// Python's ==, and < for numbers, strings and lists (throws for others).
bool equal(Machine& machine, const Value& a, const Value& b);
bool less(Machine& machine, const Value& a, const Value& b);

Value from_json(Machine& machine, const nlohmann::ordered_json& json, int depth = 0);

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_VALUE_H_
