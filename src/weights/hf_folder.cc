// A model folder in Hugging Face layout.
#include <set>

#include "base/check.h"
#include "weights/formats.h"
#include "weights/json.h"

namespace hopskip {
namespace {

constexpr size_t kMaxShards = 1024;

class Folder {
 public:
  Folder(std::filesystem::path path, Checkpoint* checkpoint)
      : path_(std::move(path)), checkpoint_(checkpoint) {}

  bool has(const std::string& name) const { return std::filesystem::exists(path_ / name); }
  std::string where(const std::string& name) const { return (path_ / name).string(); }
  // The bytes live as long as the checkpoint.
  std::span<const std::byte> bytes(const std::string& name) {
    return checkpoint_->files.emplace_back(path_ / name).bytes();
  }
  std::string_view text(const std::string& name) {
    bytes(name);
    return checkpoint_->files.back().text();
  }
  std::string_view text_if_there(const std::string& name) {
    return has(name) ? text(name) : std::string_view();
  }

 private:
  std::filesystem::path path_;
  Checkpoint* checkpoint_;
};

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kSingle = "model.safetensors";

// Tensor → shard. File names come from the file, so they must not lead out of the folder.
std::map<std::string, std::string> read_index(Folder& folder) {
  const std::string where = folder.where(kIndex);
  const nlohmann::json root = parse_json(folder.text(kIndex), where);
  const nlohmann::json* map = JsonObject(root, where).find("weight_map");
  check(map != nullptr && map->is_object(), ErrorCode::kCorrupt, "{}: there is no 'weight_map'",
        where);
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    check(!name.empty() && name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos,
          ErrorCode::kCorrupt, "{}: tensor '{}' has '{}' for a file name", where, tensor, name);
    shards[tensor] = name;
  }
  return shards;
}

void add_tensors(Folder& folder, Checkpoint* checkpoint) {
  if (!folder.has(kIndex)) {
    check(folder.has(kSingle), ErrorCode::kNotFound,
          "'{}' has neither {} nor {}; other formats must be converted to safetensors first",
          checkpoint->path, kSingle, kIndex);
    add_safetensors(folder.bytes(kSingle), folder.where(kSingle), checkpoint);
    return;
  }
  const std::map<std::string, std::string> shard_of = read_index(folder);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) {
    shards.insert(shard);
  }
  check(shards.size() <= kMaxShards, ErrorCode::kCorrupt, "{}: {} shards; at most {} are read",
        folder.where(kIndex), shards.size(), kMaxShards);
  for (const std::string& shard : shards) {
    add_safetensors(folder.bytes(shard), folder.where(shard), checkpoint);
  }
  for (const auto& [tensor, shard] : shard_of) {
    check(checkpoint->find(tensor) != nullptr, ErrorCode::kCorrupt,
          "{}: tensor '{}' is not in its shard", folder.where(shard), tensor);
  }
}

// The chat_template of tokenizer_config.json: a string, or a list of {name, template}.
std::string template_of_config(std::string_view text, const std::string& where) {
  if (text.empty()) {
    return {};
  }
  const nlohmann::json root = parse_json(text, where);
  const JsonObject config(root, where);
  const nlohmann::json* value = config.find("chat_template");
  if (value == nullptr || !value->is_array()) {
    return config.text("chat_template", "");
  }
  for (const nlohmann::json& entry : *value) {
    const JsonObject named(entry, where + ": 'chat_template'");
    if (named.text("name", "") == "default") {
      return named.text("template", "");
    }
  }
  return {};
}

TokenizerSource read_tokenizer(Folder& folder) {
  TokenizerSource source;
  source.tokenizer_json = folder.text_if_there("tokenizer.json");
  source.tokenizer_config_json = folder.text_if_there("tokenizer_config.json");
  if (!source.tokenizer_json.empty()) {
    source.kind = TokenizerSource::Kind::kHuggingFace;
  }
  source.chat_template = folder.text_if_there("chat_template.jinja");
  if (source.chat_template.empty()) {
    source.chat_template =
        template_of_config(source.tokenizer_config_json, folder.where("tokenizer_config.json"));
  }
  return source;
}

}  // namespace

Checkpoint open_hf_folder(const std::filesystem::path& path) {
  Checkpoint checkpoint;
  checkpoint.path = path.string();
  checkpoint.format = "safetensors";
  Folder folder(path, &checkpoint);
  const std::string where = folder.where("config.json");
  const std::string_view config = folder.text("config.json");
  checkpoint.config =
      hf_model_config(config, folder.text_if_there("generation_config.json"), where);
  validate(checkpoint.config, where);
  if (checkpoint.config.name.empty()) {
    checkpoint.config.name = path.filename().string();
  }
  add_tensors(folder, &checkpoint);
  checkpoint.tokenizer = read_tokenizer(folder);
  return checkpoint;
}

}  // namespace hopskip
