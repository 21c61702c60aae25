// Throwing helpers: fail(code, format, args...) and check(condition, code, format, args...).
#ifndef HOPSKIP_BASE_CHECK_H_
#define HOPSKIP_BASE_CHECK_H_

#include <fmt/format.h>

#include <utility>

#include "hopskip/error.h"

namespace hopskip {

template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void check(bool condition, ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]] {
    fail(code, format, std::forward<Args>(args)...);
  }
}

}  // namespace hopskip

#endif  // HOPSKIP_BASE_CHECK_H_
