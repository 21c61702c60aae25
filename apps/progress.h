// A progress bar on stderr for whatever takes more than two seconds.
#ifndef HOPSKIP_APPS_PROGRESS_H_
#define HOPSKIP_APPS_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace hopskip::apps {

// Shows nothing for the first two seconds, and nothing at all unless `shown`. The destructor clears
// it.
class Progress {
 public:
  // `what`: "prefill", in front of the bar; `unit`: "tokens".
  Progress(bool shown, std::string what, std::string unit);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws at most ten times a second.
  void update(int64_t done, int64_t total);
  // Takes the bar off the terminal, before something else is written.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool shown_;
  bool drawn_ = false;
  std::string what_;
  std::string unit_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_{};
};

// A bar is for a terminal.
bool stderr_is_terminal();

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_PROGRESS_H_
