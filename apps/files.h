// Reading prompts and writing results.
#ifndef HOPSKIP_APPS_FILES_H_
#define HOPSKIP_APPS_FILES_H_

#include <string>
#include <string_view>

namespace hopskip::apps {

// The bytes of a file; "-" is standard input. Throws NotFound or InvalidArgument naming the path.
std::string read_file(const std::string& path);

// Throws InvalidArgument naming `what` and the byte offset of the first byte that is not UTF-8, or
// saying that there is no text.
void check_text(std::string_view text, const std::string& what);

// Writes a temporary file beside `path` and renames it: readers see the old file or the whole new
// one. Throws NotFound naming the path when it cannot be written.
void write_file(const std::string& path, std::string_view text);

// With those above it, where they are missing. Throws NotFound naming the path.
void make_folder(const std::string& path);

// Throws as write_file() would, before hours of work are spent on what could then not be kept.
void check_writable(const std::string& path);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_FILES_H_
