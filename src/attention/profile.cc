#include "attention/profile.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace hopskip {
namespace {

using nlohmann::json;

// The deepest profile has six levels; deeper JSON is not one.
constexpr int kMaxDepth = 16;
constexpr size_t kMaxBytes = size_t{16} << 20;

const json& member(const json& object, const char* key, const std::string& where) {
  const auto it = object.is_object() ? object.find(key) : object.end();
  check(object.is_object() && it != object.end(), ErrorCode::kCorrupt, "{}: '{}' is missing", where,
        key);
  return *it;
}

double number(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  check(value.is_number() && std::isfinite(value.get<double>()), ErrorCode::kCorrupt,
        "{}: '{}' must be a finite number", where, key);
  return value.get<double>();
}

json parse(std::string_view text, const std::string& where) {
  check(text.size() <= kMaxBytes, ErrorCode::kCorrupt, "{}: a profile of {} bytes is too large",
        where, text.size());
  const json::parser_callback_t depth_guard = [&](int depth, json::parse_event_t, json&) {
    check(depth <= kMaxDepth, ErrorCode::kCorrupt, "{}: nested deeper than {} levels", where,
          kMaxDepth);
    return true;
  };
  try {
    return json::parse(text, depth_guard);
  } catch (const json::parse_error& error) {
    fail(ErrorCode::kCorrupt,
         "{}: no valid JSON (at byte {} of {}); profiles are written by calibration", where,
         error.byte, text.size());
  } catch (const json::exception&) {
    fail(ErrorCode::kCorrupt, "{}: JSON holds a number that no double can hold", where);
  }
}

// Model Optimizer writes one or more config groups; the first that has the factors is the one.
const json& scale_factors(const json& root, const std::string& where) {
  const json& config =
      root.contains("sparse_attention_config") ? root["sparse_attention_config"] : root;
  const json& groups = member(config, "config_groups", where);
  check(groups.is_object(), ErrorCode::kCorrupt, "{}: 'config_groups' must be an object", where);
  for (const json& group : groups) {
    if (group.is_object() && group.contains("threshold_scale_factor")) {
      return group["threshold_scale_factor"];
    }
  }
  fail(ErrorCode::kCorrupt, "{}: no config group has a 'threshold_scale_factor'", where);
}

void read_own_keys(const json& own, SkipProfile& profile, const std::string& where) {
  check(own.is_object(), ErrorCode::kCorrupt, "{}: 'hopskip' must be an object", where);
  const json model = own.value("model", json(""));
  check(model.is_string(), ErrorCode::kCorrupt, "{}: 'hopskip.model' must be text", where);
  profile.model = model.get<std::string>();
  if (own.contains("min_context")) {
    const double keys = number(own, "min_context", where);
    check(keys >= 0.0 && keys <= 1e9, ErrorCode::kCorrupt, "{}: 'min_context' is out of range",
          where);
    profile.min_context = static_cast<int64_t>(keys);
  }
  if (own.contains("tile_plan")) {
    check(own["tile_plan"].is_object(), ErrorCode::kCorrupt, "{}: 'tile_plan' must be an object",
          where);
    for (Phase phase : kPhases) {
      if (!own["tile_plan"].contains(phase_name(phase).data())) {
        continue;
      }
      const json& plan = own["tile_plan"][phase_name(phase).data()];
      check(plan.is_string(), ErrorCode::kCorrupt, "{}: a tile plan must be text", where);
      try {
        profile.plan[phase] = parse_tile_plan(plan.get_ref<const std::string&>());
      } catch (const Error& error) {
        fail(ErrorCode::kCorrupt, "{}: {}", where, error.what());
      }
    }
  }
}

}  // namespace

double factor_for_sparsity(const SkipProfile& profile, Phase phase, double sparsity) {
  check(sparsity >= 0.0 && sparsity < 1.0, ErrorCode::kInvalidArgument,
        "target sparsity {} for {} is outside 0…1 (1 excluded)", sparsity, phase_name(phase));
  if (sparsity == 0.0) {
    return 0.0;
  }
  const std::optional<SkipFit>& fit = profile.fit[phase];
  check(fit.has_value(), ErrorCode::kInvalidArgument,
        "the profile{} has no fit for {}: calibrate that phase too, or leave its sparsity at 0",
        profile.model.empty() ? "" : " of " + profile.model, phase_name(phase));
  return fit->a * std::exp(fit->b * sparsity);
}

SkipProfile parse_skip_profile(std::string_view text, const std::string& where) {
  const json root = parse(text, where);
  check(root.is_object(), ErrorCode::kCorrupt, "{}: a profile is a JSON object", where);
  const json& factors = scale_factors(root, where);
  SkipProfile profile;
  for (Phase phase : kPhases) {
    const char* name = phase_name(phase).data();
    if (!factors.is_object() || !factors.contains(name)) {
      continue;
    }
    const SkipFit fit{number(factors[name], "a", where), number(factors[name], "b", where)};
    check(fit.a > 0.0 && fit.b > 0.0, ErrorCode::kCorrupt,
          "{}: the fit of {} needs a > 0 and b > 0, found a = {}, b = {}", where, name, fit.a,
          fit.b);
    profile.fit[phase] = fit;
  }
  check(profile.fit.prefill || profile.fit.decode, ErrorCode::kCorrupt,
        "{}: 'threshold_scale_factor' has neither 'prefill' nor 'decode'", where);
  if (root.contains("hopskip")) {
    read_own_keys(root["hopskip"], profile, where);
  }
  return profile;
}

std::string to_json(const SkipProfile& profile) {
  json factors = {{"formula", "a * exp(b * target_sparsity)"}};
  json own = {{"model", profile.model}, {"min_context", profile.min_context}};
  for (Phase phase : kPhases) {
    if (profile.fit[phase]) {
      factors[phase_name(phase).data()] = {{"a", profile.fit[phase]->a},
                                           {"b", profile.fit[phase]->b}};
    }
    if (profile.plan[phase]) {
      own["tile_plan"][phase_name(phase).data()] = to_string(*profile.plan[phase]);
    }
  }
  const json root = {{"sparse_attention_config",
                      {{"config_groups", {{"group_0", {{"threshold_scale_factor", factors}}}}}}},
                     {"hopskip", own}};
  return root.dump(2);
}

void validate(const SkipSoftmaxConfig& config) {
  check(!(config.threshold_scale_factor && config.target_sparsity), ErrorCode::kInvalidArgument,
        "threshold_scale_factor and target_sparsity exclude each other; give one of them");
  for (Phase phase : kPhases) {
    if (config.threshold_scale_factor) {
      const double factor = (*config.threshold_scale_factor)[phase];
      check(std::isfinite(factor) && factor >= 0.0, ErrorCode::kInvalidArgument,
            "threshold_scale_factor for {} is {}; it must be finite and not negative (0 is dense)",
            phase_name(phase), factor);
    }
    if (config.target_sparsity) {
      const double sparsity = (*config.target_sparsity)[phase];
      check(sparsity >= 0.0 && sparsity < 1.0, ErrorCode::kInvalidArgument,
            "target_sparsity for {} is {}; it must lie in 0…1 (1 excluded)", phase_name(phase),
            sparsity);
    }
  }
}

}  // namespace hopskip
