#include "text/template_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text/template_machine.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace hopskip::jinja {
namespace {

// Names of Value::Data's alternatives, in their order.
constexpr std::string_view kTypeNames[] = {"undefined", "NoneType", "bool",        "int",
                                           "float",     "str",      "list",        "dict",
                                           "Namespace", "Macro",    "LoopContext", "function"};

std::string quote_repr(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    const char32_t c = step.code_point;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_python_printable(c)) {
      out += text.substr(i, step.size);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
    i += step.size;
  }
  out.push_back(quote);
  return out;
}

std::string quote_json(std::string_view text, bool ensure_ascii) {
  static constexpr std::pair<char32_t, std::string_view> kShort[] = {
      {'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"},
      {'\t', "\\t"}, {'\f', "\\f"},  {'\b', "\\b"}};
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    const auto c = static_cast<uint32_t>(step.code_point);
    const auto* row = std::find_if(std::begin(kShort), std::end(kShort),
                                   [&](const auto& r) { return r.first == c; });
    if (row != std::end(kShort)) {
      out += row->second;
    } else if (c >= 0x10000 && ensure_ascii) {
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10),
                         0xDC00 + ((c - 0x10000) & 0x3FF));
    } else if (c < 0x20 || (c >= 0x7F && ensure_ascii)) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += text.substr(i, step.size);
    }
    i += step.size;
  }
  return out += '"';
}

struct JsonWriter {
  Machine& machine;
  const JsonStyle& style;
  std::string out;

  void new_line(int level) {
    if (style.multiline) {
      out += '\n';
      for (int i = 0; i < level; ++i) {
        out += style.indent;
      }
    }
  }

  void write_list(const List& list, int level) {
    out += '[';
    for (size_t i = 0; i < list.items.size(); ++i) {
      out += i == 0 ? "" : style.item_separator;
      new_line(level + 1);
      write(list.items[i], level + 1);
    }
    if (!list.items.empty()) {
      new_line(level);
    }
    out += ']';
  }

  void write_dict(const Dict& dict, int level) {
    std::vector<const std::pair<std::string, Value>*> items;
    for (const auto& item : dict.items) {
      items.push_back(&item);
    }
    if (style.sort_keys) {
      std::sort(items.begin(), items.end(),
                [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    out += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      out += i == 0 ? "" : style.item_separator;
      new_line(level + 1);
      out += quote_json(items[i]->first, style.ensure_ascii) + style.key_separator;
      write(items[i]->second, level + 1);
    }
    if (!items.empty()) {
      new_line(level);
    }
    out += '}';
  }

  void write(const Value& value, int level) {
    const size_t before = out.size();
    if (value.is_string()) {
      out += quote_json(value.string(), style.ensure_ascii);
    } else if (value.is_list()) {
      write_list(value.list(), level);
    } else if (value.is_dict()) {
      write_dict(value.dict(), level);
    } else if (value.is_none()) {
      out += "null";
    } else if (value.is<bool>()) {
      out += value.get<bool>() ? "true" : "false";
    } else if (value.is<int64_t>()) {
      out += std::to_string(value.get<int64_t>());
    } else if (value.is<double>()) {
      const double number = value.get<double>();
      out += std::isnan(number)   ? "NaN"
             : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity")
                                  : float_repr(number);
    } else {
      machine.fail("a value of type {} cannot be written as JSON", value.type_name());
    }
    machine.charge_bytes(value.is_list() || value.is_dict() ? 0 : out.size() - before);
    check(out.size() <= machine.limits().value_bytes, ErrorCode::kInvalidArgument,
          "chat template, line {}: JSON of more than {} bytes", machine.line(),
          machine.limits().value_bytes);
  }
};

}  // namespace

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    if (name == key) {
      return &value;
    }
  }
  return nullptr;
}

Value* Namespace::find(std::string_view key) {
  for (auto& [name, value] : items) {
    if (name == key) {
      return &value;
    }
  }
  return nullptr;
}

const Value* Arguments::find(size_t index, std::string_view name) const {
  if (index < positional.size()) {
    return &positional[index];
  }
  for (const auto& [key, value] : named) {
    if (key == name) {
      return &value;
    }
  }
  return nullptr;
}

bool Value::truthy() const {
  if (is_number()) {
    return number() != 0;
  }
  if (is_string()) {
    return !string().empty();
  }
  if (is_list()) {
    return !list().items.empty();
  }
  if (is_dict()) {
    return !dict().items.empty();
  }
  return !is_undefined() && !is_none();
}

int Value::depth() const { return is_list() ? list().depth : is_dict() ? dict().depth : 0; }

std::string_view Value::type_name() const {
  return is_list() && list().is_tuple ? "tuple" : kTypeNames[data_.index()];
}

Value Machine::list(std::vector<Value> items, bool is_tuple) {
  charge(1 + items.size() * sizeof(Value) / kBytesPerStep);
  int depth = 1;
  for (const Value& item : items) {
    depth = std::max(depth, item.depth() + 1);
  }
  if (depth > kMaxValueDepth) {
    fail("lists nested deeper than {} levels", kMaxValueDepth);
  }
  return std::make_shared<const List>(List{std::move(items), is_tuple, depth});
}

Value Machine::dict(std::vector<std::pair<std::string, Value>> items) {
  charge(1 + items.size() * sizeof(items[0]) / kBytesPerStep);
  int depth = 1;
  for (const auto& [key, value] : items) {
    depth = std::max(depth, value.depth() + 1);
  }
  if (depth > kMaxValueDepth) {
    fail("dicts nested deeper than {} levels", kMaxValueDepth);
  }
  return std::make_shared<const Dict>(Dict{std::move(items), depth});
}

std::vector<Value> Machine::iterate(const Value& value) {
  std::vector<Value> items;
  if (value.is_list()) {
    items = value.list().items;
  } else if (value.is_dict()) {
    for (const auto& [key, unused] : value.dict().items) {
      items.push_back(string(key));
    }
  } else if (value.is_string()) {
    const std::string& text = value.string();
    for (size_t i = 0; i < text.size();) {
      const size_t size = decode_utf8(text, i).size;
      items.push_back(string(text.substr(i, size)));
      i += size;
    }
  } else if (!value.is_undefined()) {
    fail("a value of type {} cannot be iterated", value.type_name());
  }
  charge(items.size());
  return items;
}

std::string float_repr(double value) {
  if (!std::isfinite(value)) {
    return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  }
  // Python writes the shortest digits, with an exponent from 1e16 on and below 1e-4.
  std::array<char, 32> buffer;
  const double magnitude = std::abs(value);
  const bool scientific = magnitude != 0 && (magnitude >= 1e16 || magnitude < 1e-4);
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer.data(), end.ptr);
  if (!scientific && text.find('.') == text.npos) {
    text += ".0";
  }
  return text;
}

std::string to_text(Machine& machine, const Value& value) {
  return value.is_string() ? value.string() : to_repr(machine, value);
}

std::string to_repr(Machine& machine, const Value& value) {
  machine.charge(1);
  std::string out;
  if (value.is_string()) {
    out = quote_repr(value.string());
  } else if (value.is_none() || value.is<bool>()) {
    out = value.is_none() ? "None" : value.get<bool>() ? "True" : "False";
  } else if (value.is<int64_t>()) {
    out = std::to_string(value.get<int64_t>());
  } else if (value.is<double>()) {
    out = float_repr(value.get<double>());
  } else if (value.is_list()) {
    const auto& [items, is_tuple, depth] = value.list();
    for (const Value& item : items) {
      out += (out.empty() ? "" : ", ") + to_repr(machine, item);
      machine.charge_bytes(out.size());
    }
    out = is_tuple ? "(" + out + (items.size() == 1 ? ",)" : ")") : "[" + out + "]";
  } else if (value.is_dict()) {
    for (const auto& [key, item] : value.dict().items) {
      out += (out.empty() ? "" : ", ") + quote_repr(key) + ": " + to_repr(machine, item);
      machine.charge_bytes(out.size());
    }
    out = "{" + out + "}";
  } else if (!value.is_undefined()) {
    out = fmt::format("<{}>", value.type_name());
  }
  machine.charge_bytes(out.size());
  return out;
}

std::string to_json(Machine& machine, const Value& value, const JsonStyle& style) {
  JsonWriter writer{machine, style, {}};
  writer.write(value, 0);
  return std::move(writer.out);
}

bool equal(Machine& machine, const Value& a, const Value& b) {
  machine.charge(1);
  if (a.is_number() && b.is_number()) {
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.number() == b.number();
  }
  if (a.data().index() != b.data().index()) {
    return false;
  }
  if (a.is_string()) {
    return a.string() == b.string();
  }
  if (a.is_list()) {
    const auto& x = a.list();
    const auto& y = b.list();
    return x.is_tuple == y.is_tuple &&
           std::equal(x.items.begin(), x.items.end(), y.items.begin(), y.items.end(),
                      [&](const Value& l, const Value& r) { return equal(machine, l, r); });
  }
  if (a.is_dict()) {
    const auto& x = a.dict().items;
    return x.size() == b.dict().items.size() &&
           std::all_of(x.begin(), x.end(), [&](const auto& item) {
             const Value* other = b.dict().find(item.first);
             return other != nullptr && equal(machine, item.second, *other);
           });
  }
  if (a.is<Namespace*>()) {
    return a.get<Namespace*>() == b.get<Namespace*>();
  }
  return a.is_undefined() || a.is_none();
}

bool less(Machine& machine, const Value& a, const Value& b) {
  machine.charge(1);
  if (a.is_number() && b.is_number()) {
    return a.is_integer() && b.is_integer() ? a.integer() < b.integer() : a.number() < b.number();
  }
  if (a.is_string() && b.is_string()) {
    return a.string() < b.string();  // byte order of UTF-8 is code point order
  }
  if (a.is_list() && b.is_list()) {
    return std::lexicographical_compare(
        a.list().items.begin(), a.list().items.end(), b.list().items.begin(), b.list().items.end(),
        [&](const Value& x, const Value& y) { return less(machine, x, y); });
  }
  machine.fail("values of type {} and {} have no order", a.type_name(), b.type_name());
}

Value from_json(Machine& machine, const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::json::value_t;
  if (depth > kMaxValueDepth) {
    machine.fail("the context is nested deeper than {} levels", kMaxValueDepth);
  }
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_integer:
      return json.get<int64_t>();
    case Type::number_float:
      return json.get<double>();
    case Type::number_unsigned: {
      const auto number = json.get<uint64_t>();
      return number <= INT64_MAX ? Value(static_cast<int64_t>(number))
                                 : Value(static_cast<double>(number));
    }
    case Type::string:
      return machine.string(to_valid_utf8(json.get_ref<const std::string&>()));
    case Type::array: {
      std::vector<Value> items;
      for (const auto& item : json) {
        items.push_back(from_json(machine, item, depth + 1));
      }
      return machine.list(std::move(items));
    }
    case Type::object: {
      std::vector<std::pair<std::string, Value>> items;
      for (const auto& [key, item] : json.items()) {
        items.emplace_back(to_valid_utf8(key), from_json(machine, item, depth + 1));
      }
      return machine.dict(std::move(items));
    }
    default:
      return None{};
  }
}

}  // namespace hopskip::jinja
