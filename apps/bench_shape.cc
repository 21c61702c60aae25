#include "bench_shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"
#include "files.h"
#include "flag_checks.h"
#include "report.h"
#include "table.h"

namespace hopskip::apps {
namespace {

constexpr const char* kGroup = "Random weights";

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::string share_cell(const std::optional<double>& share) { return share ? percent(*share) : "-"; }

// "12.3 (45 %)": milliseconds, and their share of `total` seconds.
std::string part_cell(double seconds, double total) {
  return fmt::format("{:.2f} ({:.0f} %)", 1e3 * seconds, 100.0 * seconds / total);
}

constexpr int64_t kSmallestChunk = 2048;  // that a backend takes by itself
constexpr std::array<std::string_view, 3> kMeasures{"prefill", "decode", "throughput"};

// What a speed-up compares runs of: context and batch.
using Size = std::pair<int64_t, int64_t>;
Size size_of(const ShapeRun& run) { return {run.context, run.batch}; }

std::map<Size, double> dense_seconds(const std::vector<ShapeRun>& runs) {
  std::map<Size, double> dense;
  for (const ShapeRun& run : runs) {
    if (run.share == 0.0 && !run.seconds.empty()) {
      dense.emplace(size_of(run), median(run.seconds));
    }
  }
  return dense;
}

// For people. Decode's times are in milliseconds a token, all others in seconds.
std::string text_table(ShapeMeasure measure, const std::vector<ShapeRun>& runs, bool experts,
                       bool parts) {
  const bool decodes = measure == ShapeMeasure::kDecode;
  const bool whole = measure == ShapeMeasure::kThroughput;
  std::vector<std::string> header{"ctx"};
  if (measure != ShapeMeasure::kPrefill) {
    header.push_back(whole ? "requests" : "batch");
  }
  header.push_back("share");
  if (whole) {
    header.insert(header.end(), {"skipped in prefill", "in decode", "seconds"});
  } else {
    header.insert(header.end(), {"skipped", decodes ? "TPOT ms" : "TTFT s"});
  }
  header.insert(header.end(), {"tokens/s", "speed-up"});
  const auto shown = [&](Part part) { return part != Part::kExperts || experts; };
  if (parts) {
    for (Part part : kParts) {
      if (shown(part)) {
        header.push_back(fmt::format("{} ms", part_name(part)));
      }
    }
    header.emplace_back("outside ms");
  }
  Table table(header);
  const std::map<Size, double> dense = dense_seconds(runs);
  for (const ShapeRun& run : runs) {
    std::vector<std::string> row{fmt::format("{}", run.context)};
    if (measure != ShapeMeasure::kPrefill) {
      row.push_back(fmt::format("{}", run.batch));
    }
    row.push_back(percent(run.share));
    if (measure != ShapeMeasure::kDecode) {
      row.push_back(share_cell(run.skipped.prefill));
    }
    if (measure != ShapeMeasure::kPrefill) {
      row.push_back(share_cell(run.skipped.decode));
    }
    if (run.seconds.empty()) {
      row.resize(header.size(), "-");
      table.add(std::move(row));
      continue;
    }
    const double seconds = median(run.seconds);
    const auto base = dense.find(size_of(run));
    row.push_back(decodes ? fmt::format("{:.3f}", 1e3 * seconds) : fmt::format("{:.3f}", seconds));
    row.push_back(fmt::format("{:.1f}", run.tokens / seconds));
    row.push_back(base == dense.end() ? "-" : fmt::format("{:.2f}x", base->second / seconds));
    if (parts && run.parts) {
      const double all = std::max(seconds, run.parts->total());
      for (Part part : kParts) {
        if (shown(part)) {
          row.push_back(part_cell((*run.parts)[part], all));
        }
      }
      row.push_back(part_cell(all - run.parts->total(), all));
    }
    row.resize(header.size(), "-");
    table.add(std::move(row));
  }
  return table.text();
}

// What the table does not say by itself.
void print_notes(const std::vector<ShapeRun>& runs) {
  const std::map<Size, double> dense = dense_seconds(runs);
  bool compared = true;
  for (const ShapeRun& run : runs) {
    compared = compared && (run.seconds.empty() || dense.contains(size_of(run)));
    if (!run.why_not.empty()) {
      fmt::print(stderr, "note  ctx {}, batch {}, share {:g}: {}\n", run.context, run.batch,
                 run.share, run.why_not);
    }
  }
  std::set<std::pair<int64_t, double>> short_ones;
  for (const ShapeRun& run : runs) {
    const int64_t stretches = (run.context + kSyntheticStretch - 1) / kSyntheticStretch;
    const double most = static_cast<double>(std::max<int64_t>(0, stretches - 2));
    if (run.share * static_cast<double>(stretches) > most &&
        short_ones.emplace(run.context, run.share).second) {
      fmt::print(stderr,
                 "note  ctx {} is too short for a share of {:g}: it has {} stretch{} of {} keys, "
                 "and the first and the last are always hot\n",
                 run.context, run.share, stretches, stretches == 1 ? "" : "es", kSyntheticStretch);
    }
  }
  if (!compared) {
    fmt::print(stderr, "note  speed-up is against the dense run: --skip-share 0,… makes one\n");
  }
}

std::string memory_line(const std::optional<MemoryUse>& memory, int64_t kv_tokens) {
  const auto gigabytes = [](int64_t bytes) {
    return fmt::format("{:.2f} GB", 1e-9 * static_cast<double>(bytes));
  };
  const std::string known =
      memory ? fmt::format("weights {}, KV cache {}, rest {}; ", gigabytes(memory->weights),
                           gigabytes(memory->kv_cache), gigabytes(memory->rest))
             : "";
  return fmt::format("memory  {}KV cache of {} tokens\n", known, kv_tokens);
}

}  // namespace

ShapeBench::ShapeBench(CLI::App& app, ShapeMeasure measure, CLI::Option* model)
    : measure_(measure) {
  CLI::Option* shape =
      app.add_option("--shape", shape_,
                     fmt::format("Random weights instead of a model, in the shape of: {}",
                                 fmt::join(synthetic_shapes(), ", ")))
          ->type_name("NAME")
          ->group(kGroup);
  if (model != nullptr) {
    shape->excludes(model);
  } else {
    shape->required();
  }
  const auto add = [&](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->group(kGroup)->needs(shape);
  };
  add("--layers", layers_, "Only so many of its layers; default: all")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  add("--skip-share", shares_, "Shares of keys to skip")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(is_share())
      ->capture_default_str();
  if (measure == ShapeMeasure::kDecode) {
    add("--batch", batches_, "Sequences that decode together")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
  }
  if (measure == ShapeMeasure::kThroughput) {
    add("--requests", requests_, "How many, all there from the start")
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
    add("--running", running_, "Requests that run at a time, at most; the others queue")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
  } else {
    app.add_flag("--parts,!--no-parts", parts_, "Also time attention, products, experts, the rest")
        ->group(kGroup)
        ->needs(shape);
  }
}

int64_t ShapeBench::most_sequences() const {
  switch (measure_) {
    case ShapeMeasure::kPrefill:
      return 1;
    case ShapeMeasure::kDecode:
      return *std::ranges::max_element(batches_);
    case ShapeMeasure::kThroughput:
      return std::min(running_, requests_);
  }
  return 1;
}

std::vector<ShapeRun> ShapeBench::measure(ShapeRuns& runs, const Common& common) const {
  std::vector<ShapeRun> results;
  for (int64_t context : common.contexts) {
    for (double share : shares_) {
      switch (measure_) {
        case ShapeMeasure::kPrefill:
          results.push_back(runs.prefill(context, share));
          break;
        case ShapeMeasure::kDecode:
          std::ranges::move(runs.decode(context, share, batches_, common.new_tokens),
                            std::back_inserter(results));
          break;
        case ShapeMeasure::kThroughput:
          results.push_back(runs.throughput(context, share, requests_, common.new_tokens));
          break;
      }
    }
  }
  // Shares of one context and batch below each other.
  std::ranges::stable_sort(results, {}, [&](const ShapeRun& run) {
    return std::pair(std::ranges::find(common.contexts, run.context) - common.contexts.begin(),
                     run.batch);
  });
  return results;
}

void ShapeBench::operator()(const Common& common) const {
  const SkipSoftmaxConfig& settings = common.machine.sparse_attention;
  check(!settings.threshold_scale_factor && !settings.target_sparsity, ErrorCode::kInvalidArgument,
        "sparse_attention_config says nothing about random weights: --skip-share says what is "
        "skipped");
  if (common.csv_file) {
    check_writable(*common.csv_file);
  }
  ShapeRunsOptions options{.shape = shape_,
                           .layers = layers_,
                           .batch = most_sequences(),
                           .repeats = common.repeats,
                           .seed = common.seed,
                           .parts = parts_ && measure_ != ShapeMeasure::kThroughput,
                           .prefix_reuse = measure_ == ShapeMeasure::kDecode,
                           .progress = common.progress,
                           .machine = common.machine};
  options.context = *std::ranges::max_element(common.contexts);
  if (measure_ == ShapeMeasure::kDecode) {
    options.context += ShapeRuns::decode_room(
        batches_, common.new_tokens,
        common.machine.chunk_tokens > 0 ? common.machine.chunk_tokens : kSmallestChunk);
  } else if (measure_ == ShapeMeasure::kThroughput) {
    options.context += common.new_tokens;
  }
  check(common.machine.chunk_tokens == 0 || common.machine.chunk_tokens >= options.batch,
        ErrorCode::kInvalidArgument,
        "--chunk {} is too small for {} {}: in a step each of those that decode takes a token",
        common.machine.chunk_tokens, measure_ == ShapeMeasure::kDecode ? "--batch" : "--running",
        options.batch);
  ShapeRuns runs(options);
  const ModelConfig& config = runs.config();
  fmt::print(stderr, "{}, {} layers, random weights, on {}, KV cache {}\n", shape_,
             config.num_layers, runs.device(), runs.kv_dtype());
  const int64_t published = synthetic_config(shape_, layers_, 0).max_position;
  for (int64_t context : common.contexts) {
    if (context > published) {
      fmt::print(stderr,
                 "note  ctx {}: beyond the {} tokens that {} is made for; the time is what counts "
                 "here\n",
                 context, published, shape_);
    }
  }
  if (std::ranges::any_of(shares_, [](double share) { return share > 0.0; })) {
    fmt::print(stderr,
               "note  what is skipped is imposed: weights and prompt make stretches of {} keys hot "
               "or cold\n",
               kSyntheticStretch);
  }
  runs.load();
  const std::vector<ShapeRun> results = measure(runs, common);
  const std::optional<MemoryUse> memory = runs.memory();
  fmt::print("{}", text_table(measure_, results, config.num_experts > 0, options.parts));
  print_notes(results);
  fmt::print("{}", memory_line(memory, runs.kv_tokens()));
  if (common.csv_file) {
    write_file(*common.csv_file, csv_table(runs, common, results, memory));
  }
}

std::string ShapeBench::csv_table(const ShapeRuns& runs, const Common& common,
                                  const std::vector<ShapeRun>& results,
                                  const std::optional<MemoryUse>& memory) const {
  Table csv({"shape",
             "layers",
             "device",
             "measure",
             "ctx",
             "batch",
             "new_tokens",
             "chunk",
             "share",
             "skipped_prefill",
             "skipped_decode",
             "seconds",
             "low",
             "high",
             "samples",
             "tokens_per_s",
             "attention_s",
             "linear_s",
             "experts_s",
             "rest_s",
             "weights_bytes",
             "kv_cache_bytes",
             "rest_bytes",
             "why_not",
             "kv_dtype",
             "running",
             "seed"});
  const auto number = [](double value) { return fmt::format("{:.6g}", value); };
  const auto maybe = [&](const std::optional<double>& value) {
    return value ? number(*value) : "";
  };
  for (const ShapeRun& run : results) {
    std::vector<std::string> row{
        shape_,
        fmt::format("{}", runs.config().num_layers),
        runs.device(),
        std::string(kMeasures[static_cast<size_t>(measure_)]),
        fmt::format("{}", run.context),
        fmt::format("{}", run.batch),
        fmt::format("{}", measure_ == ShapeMeasure::kPrefill ? 0 : common.new_tokens),
        fmt::format("{}", runs.chunk_tokens()),
        number(run.share),
        maybe(run.skipped.prefill),
        maybe(run.skipped.decode)};
    if (run.seconds.empty()) {
      row.resize(row.size() + 5);
    } else {
      const double seconds = median(run.seconds);
      const auto [low, high] = std::ranges::minmax(run.seconds);
      row.insert(row.end(), {number(seconds), number(low), number(high),
                             fmt::format("{}", run.seconds.size()), number(run.tokens / seconds)});
    }
    for (Part part : kParts) {
      row.push_back(run.parts ? number((*run.parts)[part]) : "");
    }
    for (int64_t MemoryUse::*field :
         {&MemoryUse::weights, &MemoryUse::kv_cache, &MemoryUse::rest}) {
      row.push_back(memory ? fmt::format("{}", (*memory).*field) : "");
    }
    row.insert(row.end(), {run.why_not, std::string(runs.kv_dtype()),
                           fmt::format("{}", std::min(most_sequences(), run.batch)),
                           fmt::format("{}", common.seed)});
    csv.add(std::move(row));
  }
  return csv.csv();
}

}  // namespace hopskip::apps
