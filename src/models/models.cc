#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "models/decoder.h"
#include "models/model.h"

namespace hopskip {
namespace {

struct Entry {
  std::string_view architecture;  // ModelConfig::architecture
  std::unique_ptr<Model> (*load)(const Loader& load);
};

constexpr std::array kModels{
    Entry{"llama", load_decoder},  // Llama 1 to 3, SmolLM2 and their like
    Entry{"qwen2",
          load_decoder},  // and Qwen2.5: biases on q, k, v; sliding windows in upper layers
    Entry{"qwen3", load_decoder},      // dense: RMS norm of each head's q and k
    Entry{"qwen3_moe", load_decoder},  // the same with a mixture of experts
};

void check_fits(const Checkpoint& checkpoint, const Backend& backend, const Loader::Plan& plan) {
  try {
    backend.check_fits(plan.parts);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", checkpoint.path, error.what());
  }
}

}  // namespace

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend,
                                  const LoadProgress& on_load) {
  const std::string& wanted = checkpoint.config.architecture;
  const auto entry = std::ranges::find(kModels, wanted, &Entry::architecture);
  if (entry == kModels.end()) {
    std::vector<std::string_view> known;
    std::ranges::transform(kModels, std::back_inserter(known), &Entry::architecture);
    fail(ErrorCode::kUnsupported, "{}: architecture '{}' is not known; known are {}",
         checkpoint.path, wanted, fmt::join(known, ", "));
  }
  Loader::Plan plan;
  entry->load(Loader(checkpoint, backend, plan));
  check_fits(checkpoint, backend, plan);
  return entry->load(Loader(checkpoint, backend, plan, on_load));
}

}  // namespace hopskip
