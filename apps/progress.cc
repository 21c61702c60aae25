#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace hopskip::apps {
namespace {

constexpr std::chrono::seconds kPatience{2};
constexpr std::chrono::milliseconds kRedraw{100};
constexpr int kBarWidth = 30;
constexpr const char* kClearLine = "\r\033[K";

}  // namespace

Progress::Progress(bool shown, std::string what, std::string unit)
    : shown_(shown), what_(std::move(what)), unit_(std::move(unit)) {}

void Progress::update(int64_t done, int64_t total) {
  const Clock::time_point now = Clock::now();
  if (!shown_ || total <= 0 || now - start_ < kPatience || now - last_ < kRedraw) {
    return;
  }
  last_ = now;
  drawn_ = true;
  const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const int filled = static_cast<int>(share * kBarWidth);
  fmt::print(stderr, "{}{} [{:#<{}}{:.<{}}] {}/{} {} {:.0f} s", kClearLine, what_, "", filled, "",
             kBarWidth - filled, done, total, unit_, elapsed);
  if (done > 0) {
    fmt::print(stderr, ", {:.0f} s left", elapsed / share - elapsed);
  }
  std::fflush(stderr);
}

void Progress::clear() {
  if (drawn_) {
    fmt::print(stderr, "{}", kClearLine);
    std::fflush(stderr);
    drawn_ = false;
  }
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

}  // namespace hopskip::apps
