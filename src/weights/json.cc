#include "weights/json.h"

#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"

namespace hopskip {
namespace {

// Counted before parsing, so that nothing recursive ever sees hostile nesting.
void check_depth(std::string_view text, const std::string& where) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      i += c == '\\';
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      check(++depth <= kMaxJsonDepth, ErrorCode::kCorrupt,
            "{}: JSON is nested deeper than {} levels (at byte {})", where, kMaxJsonDepth, i);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where) {
  check(text.size() <= kMaxJsonBytes, ErrorCode::kCorrupt,
        "{}: {} bytes of JSON; at most {} are read", where, text.size(), kMaxJsonBytes);
  check_depth(text, where);
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open, innermost last
  const auto refuse_twins = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      check(keys.back().insert(key).second, ErrorCode::kCorrupt, "{}: the key '{}' stands twice",
            where, key);
    }
    return true;
  };
  try {
    return json::parse(text, refuse_twins);
  } catch (const json::parse_error& error) {
    fail(ErrorCode::kCorrupt, "{}: no valid JSON (at byte {} of {})", where, error.byte,
         text.size());
  } catch (const json::exception&) {
    fail(ErrorCode::kCorrupt, "{}: JSON holds a number that no double can hold", where);
  }
}

std::optional<int64_t> whole_number(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return std::nullopt;
    }
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) {
    return value.get<int64_t>();
  }
  if (value.is_number_float()) {  // e.g. 8192.0, as some exporters write
    const auto number = value.get<double>();
    constexpr double kExact = 9007199254740992.0;  // 2^53
    if (number >= -kExact && number <= kExact &&
        number == static_cast<double>(static_cast<int64_t>(number))) {
      return static_cast<int64_t>(number);
    }
  }
  return std::nullopt;
}

JsonObject::JsonObject(const nlohmann::json& value, std::string where)
    : value_(&value), where_(std::move(where)) {
  check(value.is_object(), ErrorCode::kCorrupt, "{}: a JSON object is expected", where_);
}

const nlohmann::json* JsonObject::find(const char* key) const {
  const auto it = value_->find(key);
  return it == value_->end() || it->is_null() ? nullptr : &*it;
}

void JsonObject::wrong_type(const char* key, const char* wanted) const {
  fail(ErrorCode::kCorrupt, "{}: '{}' is not {}", where_, key, wanted);
}

int64_t JsonObject::integer(const char* key) const {
  check(has(key), ErrorCode::kNotFound, "{}: '{}' is missing", where_, key);
  return integer(key, 0);
}

int64_t JsonObject::integer(const char* key, int64_t fallback) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  const std::optional<int64_t> number = whole_number(*value);
  return number ? *number : (wrong_type(key, "a whole number"), 0);
}

double JsonObject::real(const char* key, double fallback) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  return value->is_number() ? value->get<double>() : (wrong_type(key, "a number"), 0);
}

bool JsonObject::boolean(const char* key, bool fallback) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  return value->is_boolean() ? value->get<bool>() : (wrong_type(key, "true or false"), false);
}

std::string JsonObject::text(const char* key, const std::string& fallback) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  return value->is_string() ? value->get<std::string>() : (wrong_type(key, "a string"), "");
}

std::optional<JsonObject> JsonObject::object(const char* key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  return JsonObject(*value, where_ + ": '" + key + "'");
}

}  // namespace hopskip
