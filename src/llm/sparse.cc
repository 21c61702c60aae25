#include "llm/sparse.h"

#include "base/check.h"

namespace hopskip {
namespace {

void check_plan(const SkipProfile& profile, Phase phase, const TilePlan& plan) {
  check(!profile.plan[phase] || *profile.plan[phase] == plan, ErrorCode::kInvalidArgument,
        "the profile's {} factors were fitted for the tile plan '{}', but '{}' runs here: "
        "calibrate again on this device",
        phase_name(phase), to_string(profile.plan[phase].value_or(plan)), to_string(plan));
}

}  // namespace

SparseSettings resolve_sparse(const SkipSoftmaxConfig& config,
                              const std::optional<SkipProfile>& profile, const std::string& model,
                              const PerPhase<TilePlan>& plans) {
  validate(config);
  SparseSettings settings;
  if (!config.target_sparsity) {
    settings.threshold_scale_factor =
        config.threshold_scale_factor.value_or(PerPhase<double>{0.0, 0.0});
    return settings;
  }
  check(profile.has_value(), ErrorCode::kInvalidArgument,
        "target_sparsity needs a profile, and {} brings none: give one that was made by "
        "calibration, or a threshold_scale_factor",
        model);
  check(profile->model.empty() || profile->model == model, ErrorCode::kInvalidArgument,
        "the profile was fitted for '{}', not for '{}'", profile->model, model);
  settings.min_context = profile->min_context;
  for (Phase phase : kPhases) {
    const double sparsity = (*config.target_sparsity)[phase];
    if (sparsity == 0.0) {
      continue;
    }
    check_plan(*profile, phase, plans[phase]);
    if (!profile->plan[phase]) {
      settings.notices.push_back(
          fmt::format("{}: the profile does not say which tiles it was fitted for; the sparsity "
                      "may differ from {}",
                      phase_name(phase), sparsity));
    }
    settings.threshold_scale_factor[phase] = factor_for_sparsity(*profile, phase, sparsity);
  }
  return settings;
}

std::vector<std::string> sparse_notices(const SparseSettings& settings,
                                        const SequenceStats& stats) {
  std::vector<std::string> notices = settings.notices;
  const int64_t keys = stats.prompt_tokens + stats.generated_tokens;
  for (Phase phase : kPhases) {
    const PhaseStats& part = stats.phases[phase];
    if (part.tokens_below_min_context > 0) {
      notices.push_back(fmt::format(
          "{}: dense for {} of {} tokens, below the profile's minimum context of {}",
          phase_name(phase), part.tokens_below_min_context, part.tokens, settings.min_context));
    } else if (part.tokens > 0 && part.threshold_scale_factor > static_cast<double>(keys)) {
      notices.push_back(
          fmt::format("{}: the factor {:g} exceeds the {} tokens of this sequence; its threshold "
                      "is clamped to 1",
                      phase_name(phase), part.threshold_scale_factor, keys));
    }
  }
  return notices;
}

}  // namespace hopskip
