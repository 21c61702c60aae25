#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "models/decoder.h"
#include "models/model.h"

namespace hopskip {
namespace {

constexpr std::array kModels{
    ModelEntry{"llama", "Llama 1 to 3, SmolLM2, Mistral and their like", load_decoder},
    ModelEntry{"qwen2", "Qwen2, Qwen2.5: biases on q, k, v; sliding windows in upper layers",
               load_decoder},
    ModelEntry{"qwen3", "Qwen3, dense: RMS norm of each head's q and k", load_decoder},
};

}  // namespace

std::span<const ModelEntry> models() { return kModels; }

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend) {
  const std::string& wanted = checkpoint.config.architecture;
  const auto entry = std::ranges::find(kModels, wanted, &ModelEntry::architecture);
  if (entry == kModels.end()) {
    std::vector<std::string_view> known;
    std::ranges::transform(kModels, std::back_inserter(known), &ModelEntry::architecture);
    fail(ErrorCode::kUnsupported, "{}: architecture '{}' is not known; known are {}",
         checkpoint.path, wanted, fmt::join(known, ", "));
  }
  return entry->load(checkpoint, backend);
}

}  // namespace hopskip
