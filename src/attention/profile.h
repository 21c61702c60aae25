// Calibrated skip profiles: from a target sparsity to the factor of a phase.
#ifndef HOPSKIP_ATTENTION_PROFILE_H_
#define HOPSKIP_ATTENTION_PROFILE_H_

#include <optional>
#include <string>
#include <string_view>

#include "attention/tile_plan.h"
#include "hopskip/types.h"

namespace hopskip {

// factor = a · exp(b · sparsity), the form BLASST (arXiv 2512.12087) found for its tiles.
struct SkipFit {
  double a = 0.0;
  double b = 0.0;
};

// Fitted for one model and one tile plan per phase; factors mean nothing for another plan.
//
// As JSON it is what NVIDIA Model Optimizer writes as `sparse_attention_config`, plus a key
// `hopskip` with what that form leaves out: {"model", "tile_plan": {"prefill", "decode"},
// "min_context"}.
struct SkipProfile {
  std::string model;  // the checkpoint's name; empty: not stated
  PerPhase<std::optional<SkipFit>> fit;
  PerPhase<std::optional<TilePlan>> plan;  // empty: not stated
  // Shortest context the profile was verified for; shorter sequences run dense.
  int64_t min_context = 0;
};

// The factor for a share in [0, 1) of tiles to skip; 0 is dense. Throws InvalidArgument where the
// sparsity is out of range or the profile has no fit for the phase.
double factor_for_sparsity(const SkipProfile& profile, Phase phase, double sparsity);

// Reads either a profile file or a config.json that carries `sparse_attention_config`. `where`
// names the source in errors. Throws Corrupt.
SkipProfile parse_skip_profile(std::string_view json, const std::string& where);
std::string to_json(const SkipProfile& profile);

// Throws InvalidArgument naming the setting unless factors are finite and ≥ 0, sparsities in [0, 1)
// and at most one of the two is set.
void validate(const SkipSoftmaxConfig& config);

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_PROFILE_H_
