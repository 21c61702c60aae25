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
  std::unique_ptr<Model> (*load)(const Checkpoint& checkpoint, Backend& backend,
                                 const LoadProgress& on_load);
};

constexpr std::array kModels{
    Entry{"llama", load_decoder},  // Llama 1 to 3, SmolLM2 and their like
    Entry{"qwen2",
          load_decoder},  // and Qwen2.5: biases on q, k, v; sliding windows in upper layers
    Entry{"qwen3", load_decoder},      // dense: RMS norm of each head's q and k
    Entry{"qwen3_moe", load_decoder},  // the same with a mixture of experts
};

// A checkpoint may hold an output matrix that a tied model does not load.
void check_fits(const Checkpoint& checkpoint, const Backend& backend) {
  std::vector<TensorView> weights;
  for (const auto& [name, view] : checkpoint.tensors) {
    if (name != "lm_head.weight" || !checkpoint.config.tie_word_embeddings) {
      weights.push_back(view);
    }
  }
  try {
    backend.check_fits(weights);
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
  check_fits(checkpoint, backend);
  return entry->load(checkpoint, backend, on_load);
}

}  // namespace hopskip
