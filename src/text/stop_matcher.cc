#include "text/stop_matcher.h"

#include <algorithm>

#include "base/check.h"

namespace hopskip {

void validate_stops(std::span<const std::string> stops) {
  for (const std::string& stop : stops) {
    check(!stop.empty(), ErrorCode::kInvalidArgument,
          "a stop string is empty: leave it out or give it at least one character");
  }
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  validate_stops(stops);
  for (std::string& stop : stops) {
    Pattern pattern{std::move(stop), {}, 0};
    pattern.failure.resize(pattern.text.size(), 0);
    for (size_t i = 1, border = 0; i < pattern.text.size(); ++i) {
      while (border > 0 && pattern.text[i] != pattern.text[border]) {
        border = pattern.failure[border - 1];
      }
      border += pattern.text[i] == pattern.text[border];
      pattern.failure[i] = border;
    }
    patterns_.push_back(std::move(pattern));
  }
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped()) {
    return {};
  }
  std::string out = std::move(held_);
  held_.clear();
  size_t held = 0;
  for (const char c : text) {
    out.push_back(c);
    held = 0;
    for (size_t i = 0; i < patterns_.size(); ++i) {
      Pattern& p = patterns_[i];
      while (p.matched > 0 && p.text[p.matched] != c) {
        p.matched = p.failure[p.matched - 1];
      }
      p.matched += p.text[p.matched] == c;
      if (p.matched == p.text.size() && (!stopped() || p.matched > patterns_[*stop_].text.size())) {
        stop_ = i;
      }
      held = std::max(held, p.matched);
    }
    if (stopped()) {
      out.resize(out.size() - patterns_[*stop_].text.size());
      return out;
    }
  }
  if (text.empty()) {
    held = out.size();
  }
  held_ = out.substr(out.size() - held);
  out.resize(out.size() - held);
  return out;
}

std::string StopMatcher::flush() {
  std::string out = std::move(held_);
  held_.clear();
  for (Pattern& p : patterns_) {
    p.matched = 0;
  }
  return out;
}

}  // namespace hopskip
