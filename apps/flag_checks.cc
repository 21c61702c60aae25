#include "flag_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string>

namespace hopskip::apps {
namespace {

template <typename T>
bool parses(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end;
}

CLI::Validator validator(std::string (*why_not)(std::string& text)) {
  return CLI::Validator(why_not, "");
}

}  // namespace

CLI::Validator is_share() {
  return validator([](std::string& text) -> std::string {
    double value = 0.0;
    const bool fits = parses(text, value) && value >= 0.0 && value <= 1.0;  // not nan, either
    return fits ? "" : fmt::format("'{}' is not a number from 0 to 1", text);
  });
}

CLI::Validator is_seed() {
  return validator([](std::string& text) -> std::string {
    uint64_t value = 0;
    return parses(text, value)
               ? ""
               : fmt::format("'{}' is not a whole number from 0 to {}", text, UINT64_MAX);
  });
}

CLI::Validator is_whole_number() {
  return validator([](std::string& text) -> std::string {
    int64_t value = 0;
    return parses(text, value) ? "" : fmt::format("'{}' is not a whole number, or too large", text);
  });
}

CLI::Validator is_model() {
  return validator([](std::string& text) -> std::string {
    const bool number = text.find_first_not_of("0123456789.,") == std::string::npos;
    return number && !text.empty()
               ? fmt::format(
                     "'{}' is a number: lists are written with commas, e.g. --ctx 2048,8192", text)
               : "";
  });
}

CLI::Validator is_file_name() {
  return validator(
      [](std::string& text) -> std::string { return text.empty() ? "the name is empty" : ""; });
}

}  // namespace hopskip::apps
