// How much of the machine's memory a process may still take.
#ifndef HOPSKIP_BASE_HOST_MEMORY_H_
#define HOPSKIP_BASE_HOST_MEMORY_H_

#include <cstdint>
#include <filesystem>

namespace hopskip {

// Bytes that can be taken before the system kills somebody for memory: what Linux calls available,
// and no more than the process's control groups (v1 or v2, e.g. a container's) leave. The largest
// number where nothing says. root: where /proc and /sys lie, for tests.
int64_t available_memory(const std::filesystem::path& root = "/");

// available_memory() but for a reserve, for scratch and whatever else a program takes: a sixteenth,
// at most 1 GiB.
int64_t spare_memory(const std::filesystem::path& root = "/");

}  // namespace hopskip

#endif  // HOPSKIP_BASE_HOST_MEMORY_H_
