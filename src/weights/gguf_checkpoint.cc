// One Checkpoint from one GGUF file or from the parts of a split one.
#include <algorithm>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "weights/formats.h"
#include "weights/gguf_names.h"

namespace hopskip {
namespace {

constexpr int64_t kMaxParts = 1024;
// Of a checkpoint whose stacked experts are counted one by one: 94 layers of 3 · 128 are 36,096.
constexpr size_t kMaxTensors = 256 << 10;

struct SplitName {
  std::string stem;  // before "-00001-of-00003.gguf"
  int64_t parts = 0;
};

// The number that five digits at `at` spell, or −1.
int64_t five_digits(std::string_view text, size_t at) {
  int64_t number = 0;
  for (const char digit : text.substr(at, 5)) {
    if (digit < '0' || digit > '9') {
      return -1;
    }
    number = 10 * number + (digit - '0');
  }
  return number;
}

std::optional<SplitName> split_name(std::string_view file_name) {
  constexpr std::string_view kTail = "-00001-of-00003.gguf";
  if (file_name.size() < kTail.size()) {
    return std::nullopt;
  }
  const std::string_view stem = file_name.substr(0, file_name.size() - kTail.size());
  const std::string_view tail = file_name.substr(stem.size());
  const int64_t parts = five_digits(tail, 10);
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf" ||
      five_digits(tail, 1) < 0 || parts < 0) {
    return std::nullopt;
  }
  return SplitName{std::string(stem), parts};
}

std::vector<std::filesystem::path> parts_of(const std::filesystem::path& path) {
  const std::optional<SplitName> split = split_name(path.filename().string());
  if (!split) {
    return {path};
  }
  check(split->parts >= 1 && split->parts <= kMaxParts, ErrorCode::kCorrupt,
        "{}: a model in {} parts; 1..{} are read", path.string(), split->parts, kMaxParts);
  std::vector<std::filesystem::path> parts;
  for (int64_t part = 1; part <= split->parts; ++part) {
    parts.push_back(path.parent_path() /
                    fmt::format("{}-{:05}-of-{:05}.gguf", split->stem, part, split->parts));
  }
  return parts;
}

// Each part says which it is and of how many; the first also says how many tensors there are.
void check_parts(std::span<const GgufFile> parts, size_t tensors) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const GgufMetadata& metadata = parts[i].metadata;
    const int64_t count = metadata.integer("split.count").value_or(1);
    const int64_t number = metadata.integer("split.no").value_or(0);
    // A file of a whole model may carry split.count 0 or 1.
    check(std::max<int64_t>(count, 1) == static_cast<int64_t>(parts.size()), ErrorCode::kCorrupt,
          "{}: it is one of {} parts, and {} were found; parts are named "
          "NAME-00001-of-0000N.gguf",
          metadata.where, count, parts.size());
    check(number == static_cast<int64_t>(i), ErrorCode::kCorrupt,
          "{}: it says that it is part {}, not {}", metadata.where, number + 1, i + 1);
  }
  const auto total = parts[0].metadata.integer("split.tensors.count");
  check(parts.size() == 1 || !total || *total == static_cast<int64_t>(tensors), ErrorCode::kCorrupt,
        "{}: the parts hold {} tensors, not {}", parts[0].metadata.where, tensors,
        total.value_or(0));
}

// Adds a tensor under its Hugging Face name; one of all experts [experts][out][in] as a tensor for
// each. False where a name stands already.
bool add_tensor(const GgufTensor& tensor, const std::string& where, Checkpoint* checkpoint) {
  const std::string name = hf_name_of_gguf(tensor.name);
  const TensorView& view = tensor.view;
  const size_t star = name.find('*');
  if (star == std::string::npos || name == tensor.name) {
    return checkpoint->tensors.emplace(name, view).second;
  }
  check(view.rank == 3, ErrorCode::kCorrupt,
        "{}: the tensor '{}' of all experts has {} dimensions, not 3", where, tensor.name,
        view.rank);
  const int64_t room = static_cast<int64_t>(kMaxTensors - checkpoint->tensors.size());
  check(view.shape[0] <= room, ErrorCode::kCorrupt,
        "{}: the tensor '{}' of {} experts is one too many; at most {} tensors are read", where,
        tensor.name, view.shape[0], kMaxTensors);
  TensorView expert{view.data, view.dtype, 2, {view.shape[1], view.shape[2]}};
  for (int64_t e = 0; e < view.shape[0]; ++e) {
    expert.data = view.as<std::byte>() + e * expert.bytes();
    std::string expert_name = name;
    if (!checkpoint->tensors.emplace(expert_name.replace(star, 1, std::to_string(e)), expert)
             .second) {
      return false;
    }
  }
  return true;
}

}  // namespace

Checkpoint assemble_gguf(std::span<const GgufFile> parts, const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.format = "gguf";
  size_t tensors = 0;
  for (const GgufFile& part : parts) {
    for (const GgufTensor& tensor : part.tensors) {
      check(add_tensor(tensor, part.metadata.where, &checkpoint), ErrorCode::kCorrupt,
            "{}: the tensor '{}' stands twice", part.metadata.where, tensor.name);
    }
    tensors += part.tensors.size();
  }
  check_parts(parts, tensors);
  const GgufMetadata& metadata = parts[0].metadata;
  checkpoint.config = gguf_model_config(metadata, checkpoint);
  validate(checkpoint.config, metadata.where);
  checkpoint.tokenizer = gguf_tokenizer(metadata);
  check(static_cast<int64_t>(checkpoint.tokenizer.tokens.size()) <= checkpoint.config.vocab_size,
        ErrorCode::kCorrupt, "{}: {} tokens for an embedding of {} rows", metadata.where,
        checkpoint.tokenizer.tokens.size(), checkpoint.config.vocab_size);
  return checkpoint;
}

Checkpoint open_gguf(const std::filesystem::path& path) {
  std::vector<MappedFile> files;
  std::vector<GgufFile> parts;
  for (const std::filesystem::path& part : parts_of(path)) {
    files.emplace_back(part);
    parts.push_back(parse_gguf(files.back().bytes(), files.back().path()));
  }
  Checkpoint checkpoint = assemble_gguf(parts, path.string());
  checkpoint.files = std::move(files);
  return checkpoint;
}

}  // namespace hopskip
