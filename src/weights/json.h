// JSON of a checkpoint's side files: parsed with caps, read field by field with clear errors.
#ifndef HOPSKIP_WEIGHTS_JSON_H_
#define HOPSKIP_WEIGHTS_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace hopskip {

inline constexpr size_t kMaxJsonBytes = 16u << 20;
inline constexpr int kMaxJsonDepth = 64;

// Throws Corrupt naming `where` and the byte for text that is no JSON, is larger or deeper than the
// caps, or has an object with one key twice (parsers differ in which of the two they believe).
nlohmann::json parse_json(std::string_view text, const std::string& where);

// An object whose fields are read by type. A field that is absent or null takes the fallback; one
// without a fallback throws NotFound, and one of another type throws Corrupt, naming field and
// file.
class JsonObject {
 public:
  // Throws Corrupt when `value` is no object. `value` must outlive this.
  JsonObject(const nlohmann::json& value, std::string where);

  bool has(const char* key) const { return find(key) != nullptr; }
  const nlohmann::json* find(const char* key) const;  // nullptr when absent or null
  const std::string& where() const { return where_; }

  int64_t integer(const char* key) const;
  int64_t integer(const char* key, int64_t fallback) const;
  double real(const char* key, double fallback) const;
  bool boolean(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  std::optional<JsonObject> object(const char* key) const;

 private:
  [[noreturn]] void wrong_type(const char* key, const char* wanted) const;

  const nlohmann::json* value_;
  std::string where_;
};

// `value` as an int64 when it is a whole number that fits.
std::optional<int64_t> whole_number(const nlohmann::json& value);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_JSON_H_
