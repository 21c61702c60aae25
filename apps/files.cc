#include "files.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/check.h"
#include "text/utf8.h"

namespace hopskip::apps {

namespace fs = std::filesystem;

namespace {

// A device or pipe is written to; renaming would put a plain file in its place.
bool is_special(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error) && !fs::is_regular_file(path, error);
}

constexpr size_t kMaxBytes = size_t{1} << 30;

// Devices and pipes may never end.
std::string read_all(std::istream& in, const std::string& what) {
  std::string text;
  std::string part(size_t{1} << 20, '\0');
  while (in.read(part.data(), std::ssize(part)) || in.gcount() > 0) {
    text.append(part, 0, in.gcount());
    check(text.size() <= kMaxBytes, ErrorCode::kInvalidArgument,
          "{} has more than {} bytes: that is no text to read at once", what, kMaxBytes);
  }
  return text;
}

}  // namespace

std::string read_file(const std::string& path) {
  if (path == "-") {
    return read_all(std::cin, "stdin");
  }
  std::error_code error;
  check(fs::exists(path, error), ErrorCode::kNotFound, "no such file: {}", path);
  check(!fs::is_directory(path, error), ErrorCode::kInvalidArgument,
        "{} is a folder, a file is wanted", path);
  std::ifstream file(path, std::ios::binary);
  std::string text = read_all(file, path);
  check(file.good() || file.eof(), ErrorCode::kNotFound, "cannot read {}: {}", path,
        std::strerror(errno));
  return text;
}

void check_text(std::string_view text, const std::string& what) {
  check(!text.empty(), ErrorCode::kInvalidArgument, "{} is empty: there is nothing to read", what);
  const size_t valid = valid_utf8_prefix(text);
  check(valid == text.size(), ErrorCode::kInvalidArgument,
        "{} is not UTF-8: byte 0x{:02x} at offset {}; convert it, e.g. with iconv -t UTF-8", what,
        static_cast<unsigned char>(text[std::min(valid, text.size() - 1)]), valid);
}

void write_file(const std::string& path, std::string_view text) {
  std::error_code error;
  const bool special = is_special(path);
  const std::string target = special ? path : fs::weakly_canonical(path, error).string();
  const std::string temporary = special ? path : fmt::format("{}.{}.part", target, getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file && !special) {
    fs::rename(temporary, target, error);
  }
  if (!file || error) {
    const std::string reason = error ? error.message() : std::strerror(errno);
    if (!special) {
      fs::remove(temporary, error);
    }
    fail(ErrorCode::kNotFound, "cannot write {}: {}", path, reason);
  }
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  check(!error, ErrorCode::kNotFound, "cannot make the folder {}: {}", path, error.message());
}

void check_writable(const std::string& path) {
  std::error_code error;
  check(!fs::is_directory(path, error), ErrorCode::kNotFound, "cannot write {}: it is a folder",
        path);
  // What is written to the folder is a new file; a device or pipe is written to itself.
  const std::string target =
      is_special(path) ? path : fs::absolute(path, error).parent_path().string();
  check(access(target.c_str(), W_OK) == 0, ErrorCode::kNotFound, "cannot write {}: {}", path,
        std::strerror(errno));
}

}  // namespace hopskip::apps
