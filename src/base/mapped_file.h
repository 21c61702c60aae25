// A file mapped read-only into memory.
#ifndef HOPSKIP_BASE_MAPPED_FILE_H_
#define HOPSKIP_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hopskip {

// The pages that lie wholly within a part of a read-only file mapping leave the process's memory;
// they come back from the file when they are touched. Not for other memory, whose contents it
// loses.
void release_mapped(std::span<const std::byte> part);

// Moves, does not copy; the bytes stay where they are when the object moves. The mapping is private
// and read-only; a file that shrinks while it is mapped faults on access, as with every mmap.
class MappedFile {
 public:
  // Throws NotFound when the file is not there, InvalidArgument for a directory, a device or a file
  // that cannot be read, Corrupt for an empty file. Every message names the path.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  // release_mapped() of a part of bytes(). Nothing happens to a part that is not of this file.
  void release(std::span<const std::byte> part) const;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

 private:
  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace hopskip

#endif  // HOPSKIP_BASE_MAPPED_FILE_H_
