// What running a template has used up and what it may use.
#ifndef HOPSKIP_TEXT_TEMPLATE_MACHINE_H_
#define HOPSKIP_TEXT_TEMPLATE_MACHINE_H_

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "text/chat_template.h"
#include "text/template_value.h"

namespace hopskip::jinja {

inline constexpr int kMaxValueDepth = 200;  // levels of lists and dicts

class Machine {
 public:
  Machine(const TemplateLimits& limits, std::time_t now) : limits_(limits), now_(now) {}

  // Counts `steps` of work. Throws when the limit is reached.
  void charge(size_t steps) {
    steps_ += static_cast<int64_t>(steps);
    check(steps_ <= limits_.steps, ErrorCode::kInvalidArgument,
          "chat template, line {}: more than {} steps", line_, limits_.steps);
  }
  void charge_bytes(size_t bytes) {
    charge(1 + bytes / kBytesPerStep);
    check(bytes <= limits_.value_bytes, ErrorCode::kInvalidArgument,
          "chat template, line {}: a text of more than {} bytes", line_, limits_.value_bytes);
  }

  Value string(std::string text) {
    charge_bytes(text.size());
    return std::make_shared<const std::string>(std::move(text));
  }
  Value list(std::vector<Value> items, bool is_tuple = false);
  Value dict(std::vector<std::pair<std::string, Value>> items);
  Namespace* make_namespace() {
    charge(1);
    return namespaces_.emplace_back(std::make_unique<Namespace>()).get();
  }

  // The elements that a for loop over `value` meets. Throws for what cannot be iterated.
  std::vector<Value> iterate(const Value& value);

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    hopskip::fail(ErrorCode::kInvalidArgument, "chat template, line {}: {}", line_,
                  fmt::format(format, std::forward<Args>(args)...));
  }

  void set_line(int line) { line_ = line; }
  int line() const { return line_; }
  const TemplateLimits& limits() const { return limits_; }
  std::time_t now() const { return now_; }

 private:
  static constexpr size_t kBytesPerStep = 16;

  const TemplateLimits& limits_;
  std::time_t now_;
  int64_t steps_ = 0;
  int line_ = 1;
  std::vector<std::unique_ptr<Namespace>> namespaces_;
};

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_MACHINE_H_
