#include "text/template_methods.h"

#include <algorithm>
#include <optional>
#include <span>

#include "text/template_arguments.h"
#include "text/template_builtins.h"
#include "text/template_strings.h"
#include "text/unicode.h"

namespace hopskip::jinja {

Value strip(Machine& m, const Value& self, const Arguments& a) {
  return m.string(strip_both(to_text(m, self), optional_string(m, a, 0, "chars")));
}

Value replace(Machine& m, const Value& self, const Arguments& a) {
  const std::string text = to_text(m, self);
  const std::string_view old = need_string(m, a, 0, "old");
  const std::string_view with = need_string(m, a, 1, "new");
  const size_t most = old.empty() ? text.size() + 1 : text.size() / old.size();
  m.charge_bytes(text.size());
  if (!with.empty() && most > m.limits().value_bytes / with.size()) {
    m.fail("replace could make a text of more than {} bytes", m.limits().value_bytes);
  }
  return m.string(replace(text, old, with, integer_or(m, a, 2, "count", -1)));
}

Value join(Machine& m, const Value& sequence, std::string_view separator, const Value* attribute) {
  std::string out;
  bool first = true;
  for (const Value& item : m.iterate(sequence)) {
    out += first ? "" : separator;
    out += to_text(m, attribute == nullptr ? item : get_item(m, item, *attribute));
    m.charge_bytes(separator.size());
    if (out.size() > m.limits().value_bytes) {
      m.fail("a text of more than {} bytes", m.limits().value_bytes);
    }
    first = false;
  }
  return m.string(std::move(out));
}

Value dict_items(Machine& m, const Value& self, const Arguments&) {
  std::vector<Value> pairs;
  if (self.is_dict()) {
    for (const auto& [key, value] : self.dict().items) {
      pairs.push_back(m.list({m.string(key), value}, true));
    }
  } else if (!self.is_undefined()) {
    m.fail("items of a value of type {}: expected a dict", self.type_name());
  }
  return m.list(std::move(pairs));
}

namespace {

Value lstrip(Machine& m, const Value& self, const Arguments& a) {
  return m.string(std::string(strip_left(self.string(), optional_string(m, a, 0, "chars"))));
}
Value rstrip(Machine& m, const Value& self, const Arguments& a) {
  return m.string(std::string(strip_right(self.string(), optional_string(m, a, 0, "chars"))));
}

Value split_string(Machine& m, const Value& self, const Arguments& a, bool from_right) {
  const auto separator = optional_string(m, a, 0, "sep");
  if (separator && separator->empty()) {
    m.fail("split with an empty separator");
  }
  m.charge_bytes(self.string().size());
  return list_of(m,
                 split(self.string(), separator, integer_or(m, a, 1, "maxsplit", -1), from_right));
}

// True when the text begins (or ends) with the argument, or with one of a tuple.
Value has_affix(Machine& m, const Value& self, const Arguments& a, bool at_end) {
  const Value* affix = a.find(0, "prefix");
  if (affix == nullptr) {
    m.fail("the argument of startswith or endswith is missing");
  }
  const auto has = [&](const Value& value) {
    const std::string& part = string_of(m, value, "startswith or endswith");
    return at_end ? self.string().ends_with(part) : self.string().starts_with(part);
  };
  if (!affix->is_list()) {
    return has(*affix);
  }
  const auto& items = affix->list().items;
  return std::any_of(items.begin(), items.end(), has);
}

Value remove_affix(Machine& m, const Value& self, const Arguments& a, bool at_end) {
  const std::string_view affix = need_string(m, a, 0, "prefix");
  std::string_view text = self.string();
  if (at_end ? text.ends_with(affix) : text.starts_with(affix)) {
    text = at_end ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
  }
  return m.string(std::string(text));
}

Value find_in_string(Machine& m, const Value& self, const Arguments& a, bool from_right) {
  const std::string_view part = need_string(m, a, 0, "sub");
  m.charge_bytes(self.string().size());
  const size_t at = from_right ? self.string().rfind(part) : self.string().find(part);
  return at == std::string::npos ? int64_t{-1}
                                 : static_cast<int64_t>(count_code_points(
                                       std::string_view(self.string()).substr(0, at)));
}

Value count_in_string(Machine& m, const Value& self, const Arguments& a) {
  const std::string_view part = need_string(m, a, 0, "sub");
  m.charge_bytes(self.string().size());
  if (part.empty()) {
    return static_cast<int64_t>(count_code_points(self.string()) + 1);
  }
  return static_cast<int64_t>(split(self.string(), part, -1, false).size() - 1);
}

const Row kStringMethods[] = {
    {"strip", strip},
    {"lstrip", lstrip},
    {"rstrip", rstrip},
    {"split",
     [](Machine& m, const Value& s, const Arguments& a) { return split_string(m, s, a, false); }},
    {"rsplit",
     [](Machine& m, const Value& s, const Arguments& a) { return split_string(m, s, a, true); }},
    {"splitlines", [](Machine& m, const Value& s,
                      const Arguments&) { return list_of(m, split_lines(s.string())); }},
    {"startswith",
     [](Machine& m, const Value& s, const Arguments& a) { return has_affix(m, s, a, false); }},
    {"endswith",
     [](Machine& m, const Value& s, const Arguments& a) { return has_affix(m, s, a, true); }},
    {"removeprefix",
     [](Machine& m, const Value& s, const Arguments& a) { return remove_affix(m, s, a, false); }},
    {"removesuffix",
     [](Machine& m, const Value& s, const Arguments& a) { return remove_affix(m, s, a, true); }},
    {"replace", replace},
    {"find",
     [](Machine& m, const Value& s, const Arguments& a) { return find_in_string(m, s, a, false); }},
    {"rfind",
     [](Machine& m, const Value& s, const Arguments& a) { return find_in_string(m, s, a, true); }},
    {"count", count_in_string},
    {"join",
     [](Machine& m, const Value& s, const Arguments& a) {
       const Value* items = a.find(0, "iterable");
       return join(m, items == nullptr ? Value() : *items, s.string(), nullptr);
     }},
    {"upper", on_text<to_upper>},
    {"lower", on_text<to_lower>},
    {"capitalize", on_text<capitalize>},
    {"title", on_text<title>},
    {"isdigit",
     [](Machine&, const Value& s, const Arguments&) -> Value {
       const std::string& text = s.string();
       return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
     }},
};

// Dicts.

Value dict_get(Machine& m, const Value& self, const Arguments& a) {
  const Value* key = a.find(0, "key");
  if (key == nullptr) {
    m.fail("get without a key");
  }
  const Value* value = key->is_string() ? self.dict().find(key->string()) : nullptr;
  const Value* otherwise = a.find(1, "default");
  return value != nullptr ? *value : otherwise != nullptr ? *otherwise : Value(None{});
}

const Row kDictMethods[] = {
    {"items", dict_items},
    {"get", dict_get},
    {"keys", [](Machine& m, const Value& s, const Arguments&) { return m.list(m.iterate(s)); }},
    {"values",
     [](Machine& m, const Value& s, const Arguments&) {
       std::vector<Value> values;
       for (const auto& [key, value] : s.dict().items) {
         values.push_back(value);
       }
       return m.list(std::move(values));
     }},
};

}  // namespace

Value find_method(const Value& object, std::string_view name) {
  const auto table = object.is_string() ? std::span<const Row>(kStringMethods)
                     : object.is_dict() ? std::span<const Row>(kDictMethods)
                                        : std::span<const Row>();
  for (const Row& row : table) {
    if (row.name == name) {
      return Callable{row.name, row.function, std::make_shared<const Value>(object)};
    }
  }
  return Undefined{std::string(name)};
}

}  // namespace hopskip::jinja
