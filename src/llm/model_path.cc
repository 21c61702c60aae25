#include "llm/model_path.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include "base/check.h"

namespace hopskip {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDefaultModel = "smollm2-135m";
constexpr std::string_view kDefaultFile = "SmolLM2-135M-Instruct.Q4_1.gguf";

// "org/name", with the characters that the hub allows.
bool is_hub_id(std::string_view model) {
  const size_t slash = model.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == model.size() ||
      model.front() == '.' || model.ends_with(".gguf") ||
      model.find('/', slash + 1) != std::string_view::npos) {
    return false;
  }
  return std::all_of(model.begin(), model.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '-' || c == '_' || c == '.';
  });
}

// The revision that "main" names, or the only one that is there.
fs::path find_snapshot(const fs::path& repository) {
  std::ifstream ref(repository / "refs" / "main");
  std::string revision;
  if (ref >> revision && fs::is_directory(repository / "snapshots" / revision)) {
    return repository / "snapshots" / revision;
  }
  std::vector<fs::path> snapshots;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    snapshots.push_back(entry.path());
  }
  return snapshots.size() == 1 ? snapshots.front() : fs::path{};
}

// A snapshot in Hugging Face layout is its folder; one that only carries a GGUF file is that file.
fs::path choose_checkpoint(const std::string& model, const fs::path& snapshot) {
  if (fs::exists(snapshot / "config.json")) {
    return snapshot;
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(snapshot)) {
    if (entry.path().extension() == ".gguf") {
      files.push_back(entry.path().filename().string());
    }
  }
  check(!files.empty(), ErrorCode::kNotFound,
        "{} has neither config.json nor a .gguf file: the download is incomplete; run "
        "'hf download {}'",
        snapshot.string(), model);
  std::sort(files.begin(), files.end());
  check(files.size() == 1, ErrorCode::kInvalidArgument,
        "{} has {} .gguf files; give the path of one, e.g. {}", model, files.size(),
        (snapshot / files.front()).string());
  return snapshot / files.front();
}

}  // namespace

fs::path find_model(const std::string& model, const ModelFolders& folders) {
  check(!model.empty(), ErrorCode::kInvalidArgument, "the model's name is empty");
  std::error_code error;
  if (fs::exists(model, error)) {
    return model;
  }
  if (model == kDefaultModel) {
    const fs::path file = fs::path(folders.hopskip) / kDefaultFile;
    check(fs::exists(file, error), ErrorCode::kNotFound,
          "{} is not at {}: run tools/fetch_model.sh (or 'make run') to download it", model,
          file.string());
    return file;
  }
  check(is_hub_id(model), ErrorCode::kNotFound,
        "no model '{}': give a .gguf file, a folder with config.json and *.safetensors, {}, or a "
        "hub id such as org/name",
        model, kDefaultModel);
  std::string folder = "models--" + model;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path snapshot = find_snapshot(fs::path(folders.hugging_face) / folder);
  check(!snapshot.empty(), ErrorCode::kNotFound,
        "{} is neither a path nor in the Hugging Face cache {}: run 'hf download {}'", model,
        folders.hugging_face, model);
  return choose_checkpoint(model, snapshot);
}

}  // namespace hopskip
