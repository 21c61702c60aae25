#include "base/host_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <string>

#include "support/checkpoint_writer.h"

namespace hopskip {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kKiB = 1024;
constexpr int64_t kGiB = int64_t{1} << 30;

// A folder that is laid out like /.
class Root {
 public:
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    test::write_file(folder_ / file, text);
  }
  const fs::path& path() const { return folder_.path(); }

 private:
  test::TemporaryFolder folder_;
};

TEST(HostMemory, IsUnlimitedWhereNothingSays) {
  const Root root;
  EXPECT_EQ(available_memory(root.path()), std::numeric_limits<int64_t>::max());
}

TEST(HostMemory, IsWhatLinuxCallsAvailable) {
  const Root root;
  root.write("proc/meminfo", "MemTotal: 9999 kB\nMemFree: 1 kB\nMemAvailable:   4096 kB\n");
  EXPECT_EQ(available_memory(root.path()), 4096 * kKiB);
}

TEST(HostMemory, IsNoMoreThanAnyGroupLeaves) {
  const Root root;
  root.write("proc/meminfo", "MemAvailable: 4096 kB\n");
  root.write("proc/self/cgroup", "0::/outer/inner\n");
  root.write("sys/fs/cgroup/outer/memory.max", "1000000\n");
  root.write("sys/fs/cgroup/outer/memory.current", "700000\n");
  root.write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  root.write("sys/fs/cgroup/outer/inner/memory.current", "500000\n");
  EXPECT_EQ(available_memory(root.path()), 300000);
  // The page cache goes when memory is wanted.
  root.write("sys/fs/cgroup/outer/memory.stat",
             "anon 1\ninactive_file 150000\nactive_file 50000\n");
  EXPECT_EQ(available_memory(root.path()), 500000);
  root.write("sys/fs/cgroup/outer/memory.current", "5000000\n");
  EXPECT_EQ(available_memory(root.path()), 0);
}

TEST(HostMemory, KnowsTheFirstVersionOfGroups) {
  const Root root;
  root.write("proc/meminfo", "MemAvailable: 4096 kB\n");
  root.write("proc/self/cgroup", "7:cpu:/x\n3:memory:/not/visible/in/the/container\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "900000\n");
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "400000\n");
  root.write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 100000\n");
  EXPECT_EQ(available_memory(root.path()), 600000);
}

// Of a group whose limit leaves 300000 bytes, whether a line of /proc/self/cgroup names it.
bool finds_group(const std::string& line, const std::string& folder, bool first_version) {
  const Root root;
  root.write("proc/meminfo", "MemAvailable: 4096 kB\n");
  root.write("proc/self/cgroup", line + "\n");
  const std::string group = "sys/fs/cgroup/" + folder + "/";
  root.write(group + (first_version ? "memory.limit_in_bytes" : "memory.max"), "1000000\n");
  root.write(group + (first_version ? "memory.usage_in_bytes" : "memory.current"), "700000\n");
  return available_memory(root.path()) == 300000;
}

TEST(HostMemory, ReadsTheLinesOfGroupsByTheirFields) {
  EXPECT_TRUE(finds_group("0::/a", "a", false));
  EXPECT_TRUE(finds_group("0::/a:b", "a:b", false));
  EXPECT_FALSE(finds_group("10::/a", "a", true));
  EXPECT_FALSE(finds_group("1:name=systemd:/x/0::/a", "a", false));
  EXPECT_TRUE(finds_group("4:memory:/a", "memory/a", true));
  EXPECT_TRUE(finds_group("4:cpu,memory:/a", "memory/a", true));
  EXPECT_TRUE(finds_group("4:memory,cpu:/a:memory:/b", "memory/a:memory:/b", true));
  EXPECT_FALSE(finds_group("4:cpu:/x:memory:/a", "memory/a", true));
  EXPECT_FALSE(finds_group("4:hugememory:/a", "memory/a", true));
  for (const char* broken : {"", ":", "memory", "4:memory", "::"}) {
    EXPECT_FALSE(finds_group(broken, "memory/a", true)) << broken;
  }
}

TEST(HostMemory, SparesSome) {
  const Root root;
  root.write("proc/meminfo", "MemAvailable: 1600 kB\n");
  EXPECT_EQ(spare_memory(root.path()), 1500 * kKiB);
  root.write("proc/meminfo", "MemAvailable: 104857600 kB\n");
  EXPECT_EQ(spare_memory(root.path()), 99 * kGiB);
}

}  // namespace
}  // namespace hopskip
