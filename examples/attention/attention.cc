// Attention on this program's own paged KV cache: a prompt, one more token, and what was skipped.
//   attention_example [FACTOR]
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "hopskip/attention.h"

using Bf16 = __nv_bfloat16;

constexpr int kHeads = 16;
constexpr int kKvHeads = 4;
constexpr int kHeadDim = 128;
constexpr int kPageSize = 64;
constexpr int64_t kPrompt = 8192;
constexpr int64_t kTokens = kPrompt + 1;
constexpr int64_t kPages = (kTokens + kPageSize - 1) / kPageSize;

void check(cudaError_t status) {
  if (status != cudaSuccess) {
    throw std::runtime_error(cudaGetErrorString(status));
  }
}

template <typename T>
std::shared_ptr<T> to_device(const std::vector<T>& host) {
  T* data = nullptr;
  check(cudaMalloc(&data, host.size() * sizeof(T)));
  std::shared_ptr<T> device(data, cudaFree);
  check(cudaMemcpy(data, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  return device;
}

// [tokens][heads][kHeadDim] of noise; first(token) is the first element of a token's heads.
template <typename First>
std::shared_ptr<Bf16> make_tensor(int64_t tokens, int heads, First first) {
  std::mt19937 random(heads);
  std::uniform_real_distribution<float> noise(-1.0f, 1.0f);
  std::vector<Bf16> values(tokens * heads * kHeadDim);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i % kHeadDim == 0 ? first(i / (heads * kHeadDim)) : noise(random);
  }
  return to_device(values);
}

// One layer of one step, and what it skipped.
void attend(hopskip::Attention& attention, const hopskip::PlannedSequence& sequence,
            hopskip::AttentionTensors tensors) {
  std::vector<hopskip::SkipCounts> counts(kHeads);
  const auto device_counts = to_device(counts);
  tensors.counts = device_counts.get();

  attention.plan({&sequence, 1});  // once a step …
  attention.run(tensors);          // … and once for each layer

  check(cudaMemcpy(counts.data(), tensors.counts, kHeads * sizeof(counts[0]), cudaMemcpyDefault));
  const auto total = std::accumulate(counts.begin(), counts.end(), hopskip::SkipCounts{},
                                     [](auto sum, const auto& head) { return sum += head; });
  std::printf("%s: %.1f %% of %llu tiles skipped\n", attention.kernel().c_str(),
              100.0 * total.sparsity(), static_cast<unsigned long long>(total.tiles));
}

int main(int argc, char** argv) {
  try {
    const double factor = argc > 1 ? std::atof(argv[1]) : 1000.0;
    hopskip::AttentionConfig config{.num_heads = kHeads,
                                    .num_kv_heads = kKvHeads,
                                    .head_dim = kHeadDim,
                                    .page_size = kPageSize,
                                    .max_pages = kPages};
    hopskip::Attention prefill(config);
    config.phase = hopskip::Phase::kDecode;
    hopskip::Attention decode(config);

    // Three keys of four are cold: their scores lie 22 nats below those of the others.
    const auto cold = [](int64_t token) { return token % 1024 < 256 ? 0.0f : -16.0f; };
    const auto q = make_tensor(kTokens, kHeads, [](int64_t) { return 16.0f; });
    const auto k = make_tensor(kPages * kPageSize, kKvHeads, cold);
    const auto v = make_tensor(kPages * kPageSize, kKvHeads, [](int64_t) { return 1.0f; });
    const auto out = make_tensor(kTokens, kHeads, [](int64_t) { return 0.0f; });
    std::vector<int32_t> pages(kPages);  // any order; here the tokens' own
    std::iota(pages.begin(), pages.end(), 0);

    const hopskip::AttentionTensors tensors{.q = q.get(),
                                            .out = out.get(),
                                            .k = k.get(),
                                            .v = v.get(),
                                            .q_rows = kTokens,
                                            .num_pages = kPages};
    attend(prefill, {.q_len = kPrompt, .kv_len = kPrompt, .pages = pages, .factor = factor},
           tensors);
    attend(decode, {.q_begin = kPrompt, .kv_len = kTokens, .pages = pages, .factor = factor},
           tensors);
  } catch (const hopskip::Error& error) {
    const std::string_view code = hopskip::error_code_name(error.code());
    std::fprintf(stderr, "attention_example: %s: %s\n", code.data(), error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "attention_example: %s\n", error.what());
    return 1;
  }
}
