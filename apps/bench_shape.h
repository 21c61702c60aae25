// `hopskip bench … --shape`: a model of random weights, measured as a whole and by part.
#ifndef HOPSKIP_APPS_BENCH_SHAPE_H_
#define HOPSKIP_APPS_BENCH_SHAPE_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hopskip/llm.h"
#include "shape_runs.h"

namespace hopskip::apps {

enum class ShapeMeasure : uint8_t { kPrefill, kDecode, kThroughput };

class ShapeBench {
 public:
  // Adds --shape and the flags that go with it; `model`, where there is one, excludes it.
  ShapeBench(CLI::App& app, ShapeMeasure measure, CLI::Option* model);

  // What the subcommand's other flags say.
  struct Common {
    std::vector<int64_t> contexts;
    int repeats = 3;
    int64_t new_tokens = 32;
    uint64_t seed = 1;
    std::optional<std::string> csv_file;
    bool progress = false;
    LLMOptions machine;
  };

  bool chosen() const { return !shape_.empty(); }
  void operator()(const Common& common) const;

  // Explains shapes and skip shares, below a subcommand's flags.
  static constexpr const char* kHelp =
      R"(With --shape the model is random numbers in the true shape of a published one, made on the device. Random
weights attend to nothing in particular, so weights and prompt make stretches of 128 keys hot or cold for each
head at random, as many as --skip-share says; cold scores lie some 35 to 60 nats below hot ones, and a threshold of
20 nats then skips what is cold. Kernels, engine and shapes are the real ones; the share is imposed, and the one that is
measured stands beside it. 0 runs dense, and is what "speed-up" compares with. Generated tokens are hot or cold by
chance.)";
  // And the parts of a step, where they are measured.
  static constexpr const char* kPartsHelp =
      R"(Times of the parts are the device's, from runs of their own, and "outside" is what they leave of the time: the
host's work and transfers. Norms and activations that run in one operation with a product count as that product:
in "linear" or, before experts, in "experts"; "rest" has those that run by themselves.)";

 private:
  std::vector<ShapeRun> measure(ShapeRuns& runs, const Common& common) const;
  int64_t most_sequences() const;
  // One row a run, for programs: seconds, shares and bytes as numbers, nothing where not measured.
  std::string csv_table(const ShapeRuns& runs, const Common& common,
                        const std::vector<ShapeRun>& results,
                        const std::optional<MemoryUse>& memory) const;

  ShapeMeasure measure_;
  std::string shape_;
  int64_t layers_ = 0;
  std::vector<double> shares_{0.0, 0.5};
  std::vector<int64_t> batches_{1};
  int64_t requests_ = 64;
  int64_t running_ = 64;
  bool parts_ = true;
};

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_BENCH_SHAPE_H_
