#include "text/template_builtins.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <functional>
#include <limits>
#include <optional>
#include <span>

#include "text/template_arguments.h"
#include "text/template_interpreter.h"
#include "text/template_machine.h"
#include "text/template_methods.h"
#include "text/template_strings.h"
#include "text/unicode.h"

namespace hopskip::jinja {
namespace {

// Sequences.

Value length(Machine& m, const Value& self, const Arguments&) {
  if (self.is_string()) {
    m.charge_bytes(self.string().size());
    return static_cast<int64_t>(count_code_points(self.string()));
  }
  if (!self.is_list() && !self.is_dict() && !self.is_undefined()) {
    m.fail("a value of type {} has no length", self.type_name());
  }
  return static_cast<int64_t>(self.is_list()   ? self.list().items.size()
                              : self.is_dict() ? self.dict().items.size()
                                               : 0);
}

Value first(Machine& m, const Value& self, const Arguments&) {
  const std::vector<Value> items = m.iterate(self);
  return items.empty() ? Value(Undefined{"the first of nothing"}) : items.front();
}

Value last(Machine& m, const Value& self, const Arguments&) {
  const std::vector<Value> items = m.iterate(self);
  return items.empty() ? Value(Undefined{"the last of nothing"}) : items.back();
}

// `path` is "a.b.0": each part an attribute or an index.
Value attribute_path(Machine& m, Value value, const Value& path) {
  if (!path.is_string()) {
    return get_item(m, value, path);
  }
  for (const std::string_view part : split(path.string(), ".", -1, false)) {
    int64_t index = 0;
    const bool is_index =
        !part.empty() && part.find_first_not_of("0123456789") == part.npos &&
        std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc();
    value = get_item(m, value, is_index ? Value(index) : m.string(std::string(part)));
  }
  return value;
}

// select, reject, selectattr, rejectattr: keeps the elements that a test takes, or refuses.
Value filter_list(Machine& m, const Value& self, const Arguments& a, bool by_attribute, bool keep) {
  if (by_attribute && a.positional.empty()) {
    m.fail("selectattr and rejectattr need the name of an attribute");
  }
  const size_t test_index = by_attribute ? 1 : 0;
  Function test = nullptr;
  Arguments rest;
  if (a.positional.size() > test_index) {
    const std::string& name = string_of(m, a.positional[test_index], "the name of a test");
    test = find_test(name);
    if (test == nullptr) {
      m.fail("no test is called '{}'", name);
    }
    rest.positional.assign(a.positional.begin() + static_cast<std::ptrdiff_t>(test_index) + 1,
                           a.positional.end());
  }
  std::vector<Value> kept;
  for (Value& item : m.iterate(self)) {
    const Value subject = by_attribute ? attribute_path(m, item, a.positional[0]) : item;
    const bool passes = (test == nullptr ? subject : test(m, subject, rest)).truthy();
    if (passes == keep) {
      kept.push_back(std::move(item));
    }
  }
  return m.list(std::move(kept));
}

Value map(Machine& m, const Value& self, const Arguments& a) {
  std::vector<Value> items = m.iterate(self);
  if (const Value* attribute = a.find(SIZE_MAX, "attribute")) {
    const Value* otherwise = a.find(SIZE_MAX, "default");
    for (Value& item : items) {
      item = attribute_path(m, item, *attribute);
      if (item.is_undefined() && otherwise != nullptr) {
        item = *otherwise;
      }
    }
    return m.list(std::move(items));
  }
  const std::string_view name = need_string(m, a, 0, "filter");
  const Function filter = find_filter(name);
  if (filter == nullptr) {
    m.fail("no filter is called '{}'", name);
  }
  const Arguments rest{std::vector<Value>(a.positional.begin() + 1, a.positional.end()), a.named};
  for (Value& item : items) {
    item = filter(m, item, rest);
  }
  return m.list(std::move(items));
}

// Sorting ignores case unless asked, as Jinja's filters do.
Value sort_key(Machine& m, const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? m.string(to_lower(value.string())) : value;
}

Value sorted(Machine& m, std::vector<Value> items, bool reverse,
             const std::function<Value(const Value&)>& key) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items) {
    Value k = key(item);
    keyed.emplace_back(std::move(k), std::move(item));
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(m, b.first, a.first) : less(m, a.first, b.first);
  });
  items.clear();
  for (auto& [k, item] : keyed) {
    items.push_back(std::move(item));
  }
  return m.list(std::move(items));
}

Value sort(Machine& m, const Value& self, const Arguments& a) {
  const bool case_sensitive = flag(a, 1, "case_sensitive");
  const Value* attribute = a.find(2, "attribute");
  return sorted(m, m.iterate(self), flag(a, 0, "reverse"), [&](const Value& item) {
    return sort_key(m, attribute == nullptr ? item : attribute_path(m, item, *attribute),
                    case_sensitive);
  });
}

Value dictsort(Machine& m, const Value& self, const Arguments& a) {
  if (!self.is_dict()) {
    m.fail("dictsort of a value of type {}", self.type_name());
  }
  const bool case_sensitive = flag(a, 0, "case_sensitive");
  const size_t by = optional_string(m, a, 1, "by").value_or("key") == "value" ? 1 : 0;
  return sorted(
      m, dict_items(m, self, {}).list().items, flag(a, 2, "reverse"),
      [&](const Value& pair) { return sort_key(m, pair.list().items[by], case_sensitive); });
}

Value reverse(Machine& m, const Value& self, const Arguments&) {
  std::vector<Value> items = m.iterate(self);
  std::reverse(items.begin(), items.end());
  return self.is_string() ? join(m, m.list(std::move(items)), "", nullptr)
                          : m.list(std::move(items));
}

Value unique(Machine& m, const Value& self, const Arguments& a) {
  const bool case_sensitive = flag(a, 0, "case_sensitive");
  std::vector<Value> kept;
  std::vector<Value> keys;
  for (Value& item : m.iterate(self)) {
    Value key = sort_key(m, item, case_sensitive);
    if (std::none_of(keys.begin(), keys.end(), [&](const Value& k) { return equal(m, k, key); })) {
      keys.push_back(std::move(key));
      kept.push_back(std::move(item));
    }
  }
  return m.list(std::move(kept));
}

// Conversions.

Value to_json_filter(Machine& m, const Value& self, const Arguments& a) {
  JsonStyle style;
  style.ensure_ascii = flag(a, 0, "ensure_ascii");
  style.sort_keys = flag(a, 3, "sort_keys");
  if (const Value* indent = a.find(1, "indent"); indent != nullptr && !indent->is_none()) {
    style.multiline = true;
    style.item_separator.assign(1, ',');
    const int64_t width = indent->is_string() ? 0 : integer_or(m, a, 1, "indent", 0);
    style.indent = indent->is_string()
                       ? indent->string()
                       : std::string(static_cast<size_t>(std::clamp<int64_t>(width, 0, 64)), ' ');
  }
  if (const Value* separators = a.find(2, "separators");
      separators != nullptr && !separators->is_none()) {
    const std::vector<Value> pair = m.iterate(*separators);
    if (pair.size() != 2) {
      m.fail("tojson: separators are two strings");
    }
    style.item_separator = string_of(m, pair[0], "separators");
    style.key_separator = string_of(m, pair[1], "separators");
  }
  return m.string(to_json(m, self, style));
}

Value default_value(Machine& m, const Value& self, const Arguments& a) {
  if (!self.is_undefined() && !(flag(a, 1, "boolean") && !self.truthy())) {
    return self;
  }
  const Value* otherwise = a.find(0, "default_value");
  return otherwise != nullptr ? *otherwise : m.string("");
}

// The number that the whole of `text` spells.
template <typename T>
std::optional<T> parse_number(std::string_view text) {
  const std::string digits = strip_both(text, {});
  T value{};
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data() + digits.starts_with('+'), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

Value to_integer(Machine& m, const Value& self, const Arguments& a) {
  const int64_t otherwise = integer_or(m, a, 0, "default", 0);
  if (self.is_integer()) {
    return self.integer();
  }
  std::optional<double> number;
  if (self.is_string()) {
    if (const auto value = parse_number<int64_t>(self.string())) {
      return *value;
    }
    number = parse_number<double>(self.string());
  } else if (self.is<double>()) {
    number = self.get<double>();
  }
  return number && std::abs(*number) < 9e18 ? static_cast<int64_t>(*number) : otherwise;
}

Value to_float(Machine&, const Value& self, const Arguments& a) {
  const Value* otherwise = a.find(0, "default");
  const auto number = self.is_number()   ? std::optional(self.number())
                      : self.is_string() ? parse_number<double>(self.string())
                                         : std::nullopt;
  return number ? Value(*number) : otherwise != nullptr ? *otherwise : Value(0.0);
}

Value absolute(Machine& m, const Value& self, const Arguments&) {
  if (!self.is_number() || (self.is_integer() && self.integer() == INT64_MIN)) {
    m.fail("abs of a value of type {}", self.type_name());
  }
  return self.is_integer() ? Value(std::abs(self.integer())) : Value(std::abs(self.number()));
}

Value indent(Machine& m, const Value& self, const Arguments& a) {
  const Value* width = a.find(0, "width");
  const std::string by =
      width != nullptr && width->is_string()
          ? width->string()
          : std::string(
                static_cast<size_t>(std::clamp<int64_t>(integer_or(m, a, 0, "width", 4), 0, 256)),
                ' ');
  std::string text = to_text(m, self);
  text.push_back('\n');
  std::string out;
  bool is_first = true;
  for (const std::string_view line : split_lines(text)) {
    out += is_first ? "" : "\n";
    out += (is_first ? flag(a, 1, "first") : !line.empty() || flag(a, 2, "blank")) ? by : "";
    out += line;
    is_first = false;
    m.charge_bytes(by.size() + line.size());
  }
  return m.string(std::move(out));
}

const Row kFilters[] = {
    {"tojson", to_json_filter},
    {"trim", strip},
    {"length", length},
    {"count", length},
    {"join",
     [](Machine& m, const Value& s, const Arguments& a) {
       const Value* separator = a.find(0, "d");
       return join(m, s, separator == nullptr ? "" : to_text(m, *separator),
                   a.find(1, "attribute"));
     }},
    {"upper", on_text<to_upper>},
    {"lower", on_text<to_lower>},
    {"capitalize", on_text<capitalize>},
    {"title", on_text<word_title>},
    {"string",
     [](Machine& m, const Value& s, const Arguments&) { return m.string(to_text(m, s)); }},
    {"safe", [](Machine& m, const Value& s, const Arguments&) { return m.string(to_text(m, s)); }},
    {"replace", replace},
    {"default", default_value},
    {"d", default_value},
    {"select", [](Machine& m, const Value& s,
                  const Arguments& a) { return filter_list(m, s, a, false, true); }},
    {"reject", [](Machine& m, const Value& s,
                  const Arguments& a) { return filter_list(m, s, a, false, false); }},
    {"selectattr", [](Machine& m, const Value& s,
                      const Arguments& a) { return filter_list(m, s, a, true, true); }},
    {"rejectattr", [](Machine& m, const Value& s,
                      const Arguments& a) { return filter_list(m, s, a, true, false); }},
    {"map", map},
    {"list", [](Machine& m, const Value& s, const Arguments&) { return m.list(m.iterate(s)); }},
    {"items", dict_items},
    {"dictsort", dictsort},
    {"first", first},
    {"last", last},
    {"sort", sort},
    {"reverse", reverse},
    {"unique", unique},
    {"int", to_integer},
    {"float", to_float},
    {"abs", absolute},
    {"indent", indent},
};

// Tests.

template <bool (*test)(const Value&)>
Value plain_test(Machine&, const Value& self, const Arguments&) {
  return test(self);
}

const Value& operand(Machine& m, const Arguments& a) {
  if (a.positional.empty()) {
    m.fail("a test needs something to compare with");
  }
  return a.positional[0];
}

bool is_divisible(Machine& m, const Value& self, int64_t by) {
  if (!self.is_integer() || by == 0) {
    m.fail("a value of type {} divided by {}", self.type_name(), by);
  }
  return by == -1 || self.integer() % by == 0;
}

Value is_same(Machine& m, const Value& self, const Arguments& a) {
  const Value& other = operand(m, a);
  return self.data().index() == other.data().index() && equal(m, self, other);
}

bool is_iterable(const Value& v) {
  return v.is_string() || v.is_list() || v.is_dict() || v.is_undefined();
}

const Row kTests[] = {
    {"defined", plain_test<[](const Value& v) { return !v.is_undefined(); }>},
    {"undefined", plain_test<[](const Value& v) { return v.is_undefined(); }>},
    {"none", plain_test<[](const Value& v) { return v.is_none(); }>},
    {"string", plain_test<[](const Value& v) { return v.is_string(); }>},
    {"mapping", plain_test<[](const Value& v) { return v.is_dict(); }>},
    {"sequence", plain_test<is_iterable>},
    {"iterable", plain_test<is_iterable>},
    {"boolean", plain_test<[](const Value& v) { return v.is<bool>(); }>},
    {"true", plain_test<[](const Value& v) { return v.is<bool>() && v.get<bool>(); }>},
    {"false", plain_test<[](const Value& v) { return v.is<bool>() && !v.get<bool>(); }>},
    {"integer", plain_test<[](const Value& v) { return v.is<int64_t>(); }>},
    {"float", plain_test<[](const Value& v) { return v.is<double>(); }>},
    {"number", plain_test<[](const Value& v) { return v.is_number(); }>},
    {"callable",
     plain_test<[](const Value& v) { return v.is<Callable>() || v.is<const Macro*>(); }>},
    {"odd",
     [](Machine& m, const Value& v, const Arguments&) -> Value { return !is_divisible(m, v, 2); }},
    {"even",
     [](Machine& m, const Value& v, const Arguments&) -> Value { return is_divisible(m, v, 2); }},
    {"divisibleby",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       operand(m, a);
       return is_divisible(m, v, integer_or(m, a, 0, "num", 0));
     }},
    {"in",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return contains(m, operand(m, a), v);
     }},
    {"sameas", is_same},
    {"equalto",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return equal(m, v, operand(m, a));
     }},
    {"eq",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return equal(m, v, operand(m, a));
     }},
    {"ne",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return !equal(m, v, operand(m, a));
     }},
    {"lt",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return less(m, v, operand(m, a));
     }},
    {"gt",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return less(m, operand(m, a), v);
     }},
    {"le",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return !less(m, operand(m, a), v);
     }},
    {"ge",
     [](Machine& m, const Value& v, const Arguments& a) -> Value {
       return !less(m, v, operand(m, a));
     }},
};

// Global functions.

Value make_namespace(Machine& m, const Value&, const Arguments& a) {
  Namespace* result = m.make_namespace();
  if (!a.positional.empty() && a.positional[0].is_dict()) {
    result->items = a.positional[0].dict().items;
  }
  for (const auto& [name, value] : a.named) {
    result->items.emplace_back(name, value);
  }
  return result;
}

Value make_dict(Machine& m, const Value&, const Arguments& a) {
  std::vector<std::pair<std::string, Value>> items;
  if (!a.positional.empty() && a.positional[0].is_dict()) {
    items = a.positional[0].dict().items;
  }
  for (const auto& named : a.named) {
    std::erase_if(items, [&](const auto& item) { return item.first == named.first; });
    items.push_back(named);
  }
  return m.dict(std::move(items));
}

Value range(Machine& m, const Value&, const Arguments& a) {
  constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox
  const bool has_start = a.positional.size() > 1;
  const int64_t start = has_start ? integer_or(m, a, 0, "start", 0) : 0;
  const int64_t stop = integer_or(m, a, has_start ? 1 : 0, "stop", 0);
  const int64_t step = integer_or(m, a, 2, "step", 1);
  if (step == 0) {
    m.fail("range with step 0");
  }
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == kMaxRange) {
      m.fail("range of more than {} numbers", kMaxRange);
    }
    items.push_back(i);
    if (__builtin_add_overflow(i, step, &i)) {
      break;
    }
  }
  return m.list(std::move(items));
}

Value raise_exception(Machine& m, const Value&, const Arguments& a) {
  const Value* message = a.find(0, "message");
  m.fail("{}", message == nullptr ? "" : to_text(m, *message));
}

Value strftime_now(Machine& m, const Value&, const Arguments& a) {
  const std::string format(need_string(m, a, 0, "format"));
  if (format.size() > 256) {
    m.fail("strftime_now with a format of more than 256 bytes");
  }
  const std::time_t now = m.now();
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(4096, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return m.string(std::move(out));
}

const Row kGlobals[] = {
    {"namespace", make_namespace},
    {"dict", make_dict},
    {"range", range},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
};

}  // namespace

Function find_filter(std::string_view name) { return find_row(kFilters, name); }
Function find_test(std::string_view name) { return find_row(kTests, name); }
Function find_global(std::string_view name) { return find_row(kGlobals, name); }

Value get_attribute(Machine& machine, const Value& object, std::string_view name) {
  if (object.is_undefined()) {
    machine.fail("'{}' is undefined, it has no '{}'", object.get<Undefined>().name, name);
  }
  if (object.is<const Loop*>()) {
    return object.get<const Loop*>()->attribute(name);
  }
  if (object.is<Namespace*>()) {
    const Value* value = object.get<Namespace*>()->find(name);
    return value != nullptr ? *value : Value(Undefined{std::string(name)});
  }
  Value method = find_method(object, name);
  if (method.is_undefined() && object.is_dict()) {
    if (const Value* value = object.dict().find(name)) {
      return *value;
    }
  }
  return method;
}

Value get_item(Machine& machine, const Value& object, const Value& key) {
  if (object.is_undefined()) {
    machine.fail("'{}' is undefined, it has no elements", object.get<Undefined>().name);
  }
  if (key.is_string()) {
    const Value* value = object.is_dict() ? object.dict().find(key.string()) : nullptr;
    return value != nullptr ? *value : get_attribute(machine, object, key.string());
  }
  if (key.is_integer() && (object.is_list() || object.is_string())) {
    const bool is_list = object.is_list();
    const std::vector<Value> characters = is_list ? std::vector<Value>() : machine.iterate(object);
    const std::vector<Value>& items = is_list ? object.list().items : characters;
    const auto size = static_cast<int64_t>(items.size());
    const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index >= 0 && index < size) {
      return items[static_cast<size_t>(index)];
    }
  }
  return Undefined{fmt::format("element {} of a {}", to_repr(machine, key), object.type_name())};
}

bool contains(Machine& machine, const Value& container, const Value& item) {
  if (container.is_string()) {
    machine.charge_bytes(container.string().size());
    return container.string().find(string_of(machine, item, "in")) != std::string::npos;
  }
  if (container.is_dict()) {
    return item.is_string() && container.dict().find(item.string()) != nullptr;
  }
  if (container.is_list()) {
    const auto& items = container.list().items;
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& other) { return equal(machine, other, item); });
  }
  if (!container.is_undefined()) {
    machine.fail("'in' does not work on a value of type {}", container.type_name());
  }
  return false;
}

}  // namespace hopskip::jinja
