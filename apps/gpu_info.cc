#include "gpu_info.h"

#include <fmt/format.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "hopskip/attention.h"
#include "kernels/cuda/backend/entry.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr std::array kHeadDims{64, 128, 256};

struct Types {
  const char* name;
  ScalarType q;
  ScalarType kv;
};
constexpr std::array kTypes{
    Types{"bf16", ScalarType::kBF16, ScalarType::kBF16},
    Types{"fp16", ScalarType::kF16, ScalarType::kF16},
    Types{"bf16, KV fp8", ScalarType::kBF16, ScalarType::kF8E4M3},
};

// Llama's grouping of heads and this engine's pages.
AttentionConfig usual(Phase phase, const Types& types, int head_dim, int device) {
  return {.phase = phase,
          .device = device,
          .num_heads = 32,
          .num_kv_heads = 8,
          .head_dim = head_dim,
          .q_type = types.q,
          .kv_type = types.kv,
          .page_size = 64,
          .max_pages = 1024};
}

// The first that can run, as Attention takes it.
std::string chosen(const std::vector<AttentionCandidate>& candidates) {
  for (const AttentionCandidate& candidate : candidates) {
    if (candidate.why_not.empty()) {
      return candidate.name;
    }
  }
  return "none";
}

void print_candidates(const std::vector<AttentionCandidate>& candidates) {
  const std::string first = chosen(candidates);
  for (const AttentionCandidate& candidate : candidates) {
    const std::string state = !candidate.why_not.empty() ? "no: " + candidate.why_not
                              : candidate.name == first  ? "runs"
                                                         : "could, too";
    fmt::print("  {:<14} {}\n", candidate.name, state);
  }
}

template <typename Function>
void for_usual_rows(Function function) {
  for (Phase phase : kPhases) {
    for (const Types& types : kTypes) {
      function(phase, types, fmt::format("{} {}", phase_name(phase), types.name));
    }
  }
}

void print_engine(const GpuInfo& gpu) {
  const auto parts = cuda_backend_parts(gpu.device);
  if (parts.empty()) {
    return;
  }
  Table table({fmt::format("--device cuda:{}", gpu.device), "runs with"});
  for (const auto& [part, text] : parts) {
    table.add({part, text});
  }
  fmt::print("\n{}", table.text());
}

void print_kernels(const GpuInfo& gpu, bool explain) {
  Table table({fmt::format("attention on cuda:{}", gpu.device), "head_dim 64", "128", "256"});
  for_usual_rows([&](Phase phase, const Types& types, const std::string& name) {
    std::vector<std::string> row{name};
    for (int head_dim : kHeadDims) {
      row.push_back(chosen(attention_candidates(usual(phase, types, head_dim, gpu.device))));
    }
    table.add(std::move(row));
  });
  fmt::print("\n{}", table.text());
  if (!explain) {
    return;
  }
  for_usual_rows([&](Phase phase, const Types& types, const std::string& name) {
    for (int head_dim : kHeadDims) {
      fmt::print("{}, head_dim {}\n", name, head_dim);
      print_candidates(attention_candidates(usual(phase, types, head_dim, gpu.device)));
    }
  });
}

}  // namespace

void print_gpus(bool explain) {
  const std::vector<GpuInfo> gpus = list_gpus();
  if (gpus.empty()) {
    const auto candidates = attention_candidates(usual(Phase::kPrefill, kTypes[0], 128, 0));
    fmt::print("GPU attention does not run here: {}\n", candidates.front().why_not);
    return;
  }
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  Table table({"gpu", "name", "compute capability", "memory", "multiprocessors"});
  for (const GpuInfo& gpu : gpus) {
    table.add({fmt::format("cuda:{}", gpu.device), gpu.name,
               fmt::format("{}.{}", gpu.compute_capability / 10, gpu.compute_capability % 10),
               fmt::format("{:.1f} GiB", static_cast<double>(gpu.memory_bytes) / kGiB),
               std::to_string(gpu.multiprocessors)});
  }
  fmt::print("{}", table.text());
  std::set<int> shown;  // GPUs of one generation run the same kernels
  for (const GpuInfo& gpu : gpus) {
    if (shown.insert(gpu.compute_capability).second) {
      print_kernels(gpu, explain);
      print_engine(gpu);
    }
  }
}

}  // namespace hopskip::apps
