#include "base/host_memory.h"

#include <algorithm>
#include <array>
#include <exception>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace hopskip {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
constexpr int64_t kMostReserve = int64_t{1} << 30;
constexpr int64_t kReserveDivisor = 16;

// The number behind a word at the beginning of a line, "MemAvailable: 123 kB".
std::optional<int64_t> number_behind(const fs::path& file, std::string_view wanted) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(wanted)) {
      try {
        return std::stoll(line.substr(wanted.size()));
      } catch (const std::exception&) {
        return std::nullopt;
      }
    }
  }
  return std::nullopt;
}

// The number that a file consists of; nothing for "max", or where there is no such file.
std::optional<int64_t> number_in(const fs::path& file) { return number_behind(file, ""); }

struct GroupFiles {
  std::string_view controller;  // among those of a line of /proc/self/cgroup; "": the line has none
  std::string_view mount;       // below /sys/fs/cgroup
  std::string_view limit;
  std::string_view usage;
  // Of memory.stat: parts of the usage that go when memory is wanted.
  std::array<std::string_view, 2> reclaimable;
};

constexpr std::array kVersions{
    GroupFiles{"", "", "memory.max", "memory.current", {"inactive_file ", "active_file "}},
    GroupFiles{"memory",
               "memory",
               "memory.limit_in_bytes",
               "memory.usage_in_bytes",
               {"total_inactive_file ", "total_active_file "}},
};

int64_t left_in(const fs::path& group, const GroupFiles& files) {
  const std::optional<int64_t> limit = number_in(group / files.limit);
  const std::optional<int64_t> usage = number_in(group / files.usage);
  if (!limit || !usage) {
    return kUnlimited;
  }
  int64_t used = *usage;
  for (std::string_view part : files.reclaimable) {
    used -= number_behind(group / "memory.stat", part).value_or(0);
  }
  return std::max<int64_t>(0, *limit - std::clamp<int64_t>(used, 0, *limit));
}

// The path of a group in a line "hierarchy:controller,controller:path" of /proc/self/cgroup;
// nothing where the line is about other controllers.
std::optional<fs::path> group_path(std::string_view line, std::string_view controller) {
  const size_t first = line.find(':');
  const size_t second = first == line.npos ? first : line.find(':', first + 1);
  if (second == line.npos) {
    return std::nullopt;
  }
  std::string_view controllers = line.substr(first + 1, second - first - 1);
  for (bool more = true; more;) {
    const size_t end = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, end) == controller) {
      return fs::path(line.substr(second + 1));
    }
    more = end < controllers.size();
    controllers.remove_prefix(more ? end + 1 : end);
  }
  return std::nullopt;
}

// The process's own group and those above it. In a container the path may be one of the machine's,
// which is not there; the mount itself then is the container's group.
int64_t left_in_groups(const fs::path& root, const GroupFiles& files) {
  const fs::path mount = root / "sys/fs/cgroup" / files.mount;
  int64_t left = left_in(mount, files);
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::optional<fs::path> path = group_path(line, files.controller);
    if (!path) {
      continue;
    }
    fs::path group = mount;
    for (const fs::path& name : path->relative_path()) {
      group /= name;
      left = std::min(left, left_in(group, files));
    }
  }
  return left;
}

}  // namespace

int64_t available_memory(const fs::path& root) {
  const std::optional<int64_t> kib = number_behind(root / "proc/meminfo", "MemAvailable:");
  int64_t left = kib && *kib < kUnlimited / 1024 ? *kib * 1024 : kUnlimited;
  for (const GroupFiles& files : kVersions) {
    left = std::min(left, left_in_groups(root, files));
  }
  return left;
}

int64_t spare_memory(const fs::path& root) {
  const int64_t available = available_memory(root);
  return available - std::min(kMostReserve, available / kReserveDivisor);
}

}  // namespace hopskip
