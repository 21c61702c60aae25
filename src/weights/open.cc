#include <algorithm>
#include <functional>
#include <string_view>

#include "base/check.h"
#include "weights/formats.h"

namespace hopskip {
namespace {

bool is_gguf(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    return false;
  }
  const MappedFile file(path);
  return file.text().starts_with("GGUF");
}

bool is_hf_folder(const std::filesystem::path& path) {
  return std::filesystem::exists(path / "config.json");
}

struct Format {
  bool (*matches)(const std::filesystem::path&);
  Checkpoint (*open)(const std::filesystem::path&);
  std::string_view description;
};

constexpr Format kFormats[] = {
    {is_gguf, open_gguf, "a .gguf file"},
    {is_hf_folder, open_hf_folder,
     "a folder in Hugging Face layout (config.json, *.safetensors, tokenizer.json)"},
};

void mark_mapped(Checkpoint& checkpoint) {
  for (auto& [name, view] : checkpoint.tensors) {
    const std::byte* begin = view.as<std::byte>();
    const std::byte* end = begin + view.bytes();
    view.mapped = std::ranges::any_of(checkpoint.files, [&](const MappedFile& file) {
      const std::span<const std::byte> bytes = file.bytes();
      return !std::less<>()(begin, bytes.data()) &&
             !std::less<>()(bytes.data() + bytes.size(), end);
    });
  }
}

}  // namespace

Checkpoint open_checkpoint(const std::filesystem::path& path) {
  std::error_code ignored;
  check(std::filesystem::exists(path, ignored), ErrorCode::kNotFound,
        "there is no file or folder '{}'", path.string());
  std::string accepted;
  for (const Format& format : kFormats) {
    if (format.matches(path)) {
      Checkpoint checkpoint = format.open(path);
      mark_mapped(checkpoint);
      return checkpoint;
    }
    accepted.append(accepted.empty() ? "" : ", or ").append(format.description);
  }
  fail(ErrorCode::kUnsupported, "'{}' is no known model format; accepted are {}", path.string(),
       accepted);
}

}  // namespace hopskip
