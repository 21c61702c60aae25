#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "base/check.h"

namespace hopskip {
namespace {

struct FileDescriptor {
  int fd;
  ~FileDescriptor() {
    if (fd >= 0) {
      ::close(fd);
    }
  }
};

}  // namespace

void release_mapped(std::span<const std::byte> part) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t stop = (first + part.size()) / page * page;
  if (begin < stop) {  // a hint: that it is not taken does no harm
    ::madvise(reinterpret_cast<void*>(begin), stop - begin, MADV_DONTNEED);
  }
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path.string()) {
  // O_NONBLOCK: opening a FIFO must fail below, not wait for its writer.
  const FileDescriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) {
    const int error = errno;
    const bool absent = error == ENOENT || error == ENOTDIR;
    fail(absent ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument, "cannot open '{}': {}", path_,
         std::strerror(error));
  }
  struct stat status {};
  check(::fstat(file.fd, &status) == 0, ErrorCode::kInvalidArgument, "cannot examine '{}': {}",
        path_, std::strerror(errno));
  check(!S_ISDIR(status.st_mode), ErrorCode::kInvalidArgument,
        "'{}' is a directory where a file is expected", path_);
  check(S_ISREG(status.st_mode), ErrorCode::kInvalidArgument, "'{}' is not a regular file", path_);
  check(status.st_size > 0, ErrorCode::kCorrupt, "'{}' is empty", path_);
  const auto size = static_cast<size_t>(status.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  check(address != MAP_FAILED, ErrorCode::kOutOfMemory, "cannot map the {} bytes of '{}': {}", size,
        path_, std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

void MappedFile::release(std::span<const std::byte> part) const {
  const std::byte* end = bytes_.data() + bytes_.size();
  if (std::less<>()(part.data(), bytes_.data()) || std::less<>()(end, part.data() + part.size())) {
    return;
  }
  release_mapped(part);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace hopskip
