#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/host_memory.h"
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

const Entry& find_entry(const Checkpoint& checkpoint) {
  const std::string& wanted = checkpoint.config.architecture;
  const auto entry = std::ranges::find(kModels, wanted, &Entry::architecture);
  if (entry == kModels.end()) {
    std::vector<std::string_view> known;
    std::ranges::transform(kModels, std::back_inserter(known), &Entry::architecture);
    fail(ErrorCode::kUnsupported, "{}: architecture '{}' is not known; known are {}",
         checkpoint.path, wanted, fmt::join(known, ", "));
  }
  return *entry;
}

void check_fits(const Checkpoint& checkpoint, const Backend& backend, const Loader::Plan& plan,
                const KvConfig& kv) {
  try {
    backend.check_fits(plan.parts);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", checkpoint.path, error.what());
  }
  const HostBytes needed = backend.host_bytes(plan.parts, kv);
  const int64_t spare = spare_memory();
  if (needed.weights <= spare && needed.kv_cache <= spare - needed.weights) {
    return;
  }
  const auto gigabytes = [](int64_t bytes) { return 1e-9 * static_cast<double>(bytes); };
  constexpr const char* kSmaller = "take a smaller model or a smaller dtype of it";
  check(needed.weights <= spare, ErrorCode::kOutOfMemory,
        "{}: the weights need {:.1f} GB, and this machine has {:.1f} GB of memory to give; {}",
        checkpoint.path, gigabytes(needed.weights), gigabytes(spare), kSmaller);
  // A single page is the least there can be: nobody has asked for more.
  fail(ErrorCode::kOutOfMemory,
       "{}: the weights need {:.1f} GB and a KV cache of {} tokens {:.1f} GB, and this machine has "
       "{:.1f} GB of memory to give; {}",
       checkpoint.path, gigabytes(needed.weights), kv.num_pages * kv.page_size,
       gigabytes(needed.kv_cache), gigabytes(spare),
       kv.num_pages > 1 ? "take a shorter context, fewer kv_tokens or fewer sequences at a time"
                        : kSmaller);
}

}  // namespace

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend,
                                  const LoadProgress& on_load, const KvConfig& kv) {
  const Entry& entry = find_entry(checkpoint);
  Loader::Plan plan;
  entry.load(Loader(checkpoint, backend, plan));
  check_fits(checkpoint, backend, plan, kv);
  if (kv.num_pages > 0) {
    backend.check_kv(kv);
  }
  return entry.load(Loader(checkpoint, backend, plan, on_load));
}

int64_t mapped_bytes(const Checkpoint& checkpoint, Backend& backend) {
  Loader::Plan plan;
  find_entry(checkpoint).load(Loader(checkpoint, backend, plan));
  return backend.host_bytes(plan.parts, {}).mapped;
}

}  // namespace hopskip
