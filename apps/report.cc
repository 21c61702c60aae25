#include "report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hopskip::apps {
namespace {

using Json = nlohmann::ordered_json;

Json counts_json(const SkipCounts& counts) {
  return {{"tiles", counts.tiles}, {"skipped", counts.skipped}, {"sparsity", counts.sparsity()}};
}

Json phase_json(const SequenceStats& stats, const PhaseStats& phase) {
  Json json{{"threshold_scale_factor", phase.threshold_scale_factor}};
  json.update(counts_json(phase.total()));
  Json layers = Json::array();
  for (size_t begin = 0; begin < phase.counts.size(); begin += stats.num_heads) {
    Json heads = Json::array();
    for (int head = 0; head < stats.num_heads; ++head) {
      heads.push_back(counts_json(phase.counts[begin + head]));
    }
    layers.push_back(std::move(heads));
  }
  json["per_layer_head"] = std::move(layers);
  return json;
}

std::string phase_summary(Phase phase, const PhaseStats& stats) {
  const SkipCounts counts = stats.total();
  return stats.threshold_scale_factor > 0.0
             ? fmt::format("{} {} of {} tiles (factor {:g})", phase_name(phase),
                           percent(counts.sparsity()), counts.tiles, stats.threshold_scale_factor)
             : fmt::format("{} dense", phase_name(phase));
}

}  // namespace

std::string percent(double share) { return fmt::format("{:.1f} %", 100.0 * share); }

std::string summary(const ModelInfo& info, const Output& output) {
  const GenerationStats& stats = output.stats;
  std::string text =
      fmt::format("model    {} on {}, KV cache {}\n", info.model, info.device, info.kv_dtype);
  text += fmt::format("prompt   {} tokens, TTFT {:.3f} s, {:.1f} tokens/s\n", stats.prompt_tokens,
                      stats.ttft_s(), stats.prefill_tokens_per_s());
  text += fmt::format("output   {} tokens ({})", stats.generated_tokens,
                      finish_reason_name(output.finish_reason));
  if (const double tpot = stats.tpot_s(); tpot > 0.0) {
    text += fmt::format(", TPOT {:.1f} ms, {:.1f} tokens/s", 1000.0 * tpot, 1.0 / tpot);
  }
  text += fmt::format("\nskipped  {}, {}\n", phase_summary(Phase::kPrefill, stats.phases.prefill),
                      phase_summary(Phase::kDecode, stats.phases.decode));
  for (const std::string& notice : stats.notices) {
    text += fmt::format("note     {}\n", notice);
  }
  return text;
}

std::string stats_json(const ModelInfo& info, const Output& output) {
  const GenerationStats& stats = output.stats;
  Json json{{"model", info.model},
            {"device", info.device},
            {"kv_dtype", info.kv_dtype},
            {"prompt_tokens", stats.prompt_tokens},
            {"generated_tokens", stats.generated_tokens},
            {"ttft_s", stats.ttft_s()},
            {"prefill_tokens_per_s", stats.prefill_tokens_per_s()},
            {"tpot_s", stats.tpot_s()},
            {"text", output.text},
            {"tokens", output.tokens},
            {"prefill", phase_json(stats, stats.phases.prefill)},
            {"decode", phase_json(stats, stats.phases.decode)}};
  std::vector<std::string> notices = info.notices;
  notices.insert(notices.end(), stats.notices.begin(), stats.notices.end());
  if (!notices.empty()) {
    json["notices"] = notices;
  }
  return json.dump(2) + "\n";
}

}  // namespace hopskip::apps
