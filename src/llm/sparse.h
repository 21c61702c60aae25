// From what a user asks of sparse attention to what the engine is told.
#ifndef HOPSKIP_LLM_SPARSE_H_
#define HOPSKIP_LLM_SPARSE_H_

#include <optional>
#include <string>
#include <vector>

#include "attention/profile.h"
#include "attention/tile_plan.h"
#include "hopskip/types.h"

namespace hopskip {

struct SparseSettings {
  PerPhase<double> threshold_scale_factor{};
  int64_t min_context = 0;
  std::vector<std::string> notices;
};

// Throws InvalidArgument for a config out of range, a target_sparsity without a profile, and a
// profile that was fitted for another model or another tile plan than `plans`.
SparseSettings resolve_sparse(const SkipSoftmaxConfig& config,
                              const std::optional<SkipProfile>& profile, const std::string& model,
                              const PerPhase<TilePlan>& plans);

// What happened to a request that resolves to `settings`, one line for each thing to know.
std::vector<std::string> sparse_notices(const SparseSettings& settings, const SequenceStats& stats);

}  // namespace hopskip

#endif  // HOPSKIP_LLM_SPARSE_H_
