// The flags that every command with a model shares.
#ifndef HOPSKIP_APPS_MODEL_FLAGS_H_
#define HOPSKIP_APPS_MODEL_FLAGS_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "hopskip/llm.h"

namespace hopskip::apps {

// "30" for both phases, or "prefill=30,decode=1"; a phase that is not named keeps its value
// from `values`. Throws InvalidArgument naming `flag`.
PerPhase<double> parse_per_phase(const std::string& flag, const std::string& text,
                                 PerPhase<double> values = {});

// "0,3,30", or one item of the form above.
std::vector<PerPhase<double>> parse_per_phase_list(const std::string& flag,
                                                   const std::vector<std::string>& items);

// Which of the flags a command takes.
struct ModelFlagParts {
  bool model = true;  // MODEL
  bool model_required = true;
  bool context = true;  // --ctx
  bool sparse = true;   // --threshold-scale-factor, --target-sparsity, --dense
  bool profile = true;  // --profile
};

class ModelFlags {
 public:
  // Adds MODEL and the flags of how it runs.
  explicit ModelFlags(CLI::App& app, ModelFlagParts parts = {});

  // Defaults < --config < --set < flags.
  LLMOptions options() const;
  const std::string& model() const { return model_; }

 private:
  void apply_sparse_flags(LLMOptions& options) const;

  std::string model_;
  std::optional<std::string> device_, kv_dtype_, simd_, profile_, factor_, target_;
  std::optional<int64_t> context_, kv_tokens_, chunk_;
  std::optional<int> threads_;
  std::vector<std::string> configs_, settings_;
  bool dense_ = false;
};

// The model; a bar while its weights are loaded, where one is wanted.
LLM open_llm(LLMOptions options, bool shows_progress);

// What is to be known of how a model was loaded, to stderr.
void print_notices(const ModelInfo& info);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_MODEL_FLAGS_H_
