// Which rows and keys should vote together, and in which order? Tries tile plans on the queries and
// keys of a real model: share of tiles skipped against softmax mass lost, and against time.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attention/skip_rule.h"
#include "base/check.h"
#include "engine/engine.h"
#include "kernels/backend.h"
#include "llm/text_model.h"
#include "skip_plans/score_block.h"
#include "support/forwarding_backend.h"
#include "weights/checkpoint.h"

namespace hopskip {
namespace {

constexpr int64_t kBlockRows = 128;  // the tallest tile tried

struct Candidate {
  Phase phase;
  TilePlan plan;
};

// What the published kernels do; in decode, the query heads of a KV head are the rows of a tile.
TilePlan published_plan(Phase phase, int group) {
  const bool decode = phase == Phase::kDecode;
  return {decode ? 1 : 64,          decode ? group : 1, 128, 128,
          VisitOrder::kFirstToLast, MaxSeed::kNone,     0};
}

// Prefill: the published tile and its neighbours, orders, slices, then what lookahead brings.
// Decode: one query row; heads alone or the group of the model together; the GPU kernels' splits.
std::vector<Candidate> candidates(int group) {
  using enum VisitOrder;
  std::vector<Candidate> list;
  const auto add = [&](Phase phase, int rows, int heads, int keys, int span, VisitOrder order,
                       MaxSeed seed = MaxSeed::kNone, int split = 0) {
    list.push_back({phase, {rows, heads, keys, span, order, seed, split}});
  };
  add(Phase::kPrefill, 128, 1, 128, 128, kFirstToLast);
  for (VisitOrder order : {kFirstToLast, kLastToFirst, kSinkDiagonalInward}) {
    add(Phase::kPrefill, 64, 1, 128, 128, order);
  }
  add(Phase::kPrefill, 64, 1, 128, 128, kFirstToLast, MaxSeed::kExact);
  for (int keys : {32, 16}) {  // the GPU kernels'
    add(Phase::kPrefill, 64, 1, keys, 128, kSinkDiagonalInward);
  }
  for (int rows : {64, 16}) {
    for (int keys : {64, 32, 16}) {
      add(Phase::kPrefill, rows, 1, keys, 256, kSinkDiagonalInward);
    }
  }
  add(Phase::kPrefill, 16, 1, 128, 128, kSinkDiagonalInward);
  add(Phase::kPrefill, 16, 1, 16, 16, kFirstToLast);
  add(Phase::kPrefill, 16, 1, 16, 16, kSinkDiagonalInward);
  add(Phase::kPrefill, 16, 1, 16, 128, kSinkDiagonalInward);
  add(Phase::kPrefill, 16, 1, 16, 256, kFirstToLast);
  add(Phase::kPrefill, 16, 1, 16, 256, kLastToFirst);
  add(Phase::kPrefill, 16, 1, 16, 512, kSinkDiagonalInward);
  add(Phase::kPrefill, 16, 1, 16, 256, kSinkDiagonalInward, MaxSeed::kExact);
  add(Phase::kPrefill, 16, group, 16, 256, kSinkDiagonalInward);
  for (int heads : {1, group}) {
    add(Phase::kDecode, 1, heads, 128, 128, kFirstToLast);
    for (int keys : {128, 64, 32, 16}) {
      add(Phase::kDecode, 1, heads, keys, keys, kFirstToLast, MaxSeed::kExact);
    }
    add(Phase::kDecode, 1, heads, 16, 256, kSinkDiagonalInward);
  }
  add(Phase::kDecode, 1, group, 128, 128, kFirstToLast, MaxSeed::kNone, 2048);
  for (MaxSeed seed : {MaxSeed::kNone, MaxSeed::kEnds}) {
    for (int split : {0, 2048, 512, 128}) {
      add(Phase::kDecode, 1, group, 16, 16, kFirstToLast, seed, split);
    }
  }
  return list;
}

// Looks at every attention call of a prefill in one chunk, and tries all candidates on sampled
// rows.
class Explorer : public ForwardingBackend {
 public:
  Explorer(std::unique_ptr<Backend> inner, std::vector<double> factors, int64_t stride)
      : ForwardingBackend(std::move(inner)), factors_(std::move(factors)), stride_(stride) {}

  void kv_append(Step& step, int layer, Matrix k, Matrix v) override {
    const std::span<const float> values = read(k);
    keys_.assign(values.begin(), values.end());
    ForwardingBackend::kv_append(step, layer, k, v);
  }

  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug) override {
    ForwardingBackend::attention(step, shape, layer, q, out, debug);
    const AttentionSequence& sequence = step.sequences()[0];
    if (sequence.q_len < kBlockRows) {
      return;  // the step that follows the prompt
    }
    check(sequence.q_len == sequence.kv_len, ErrorCode::kInternal, "the prompt came in chunks");
    if (list_.empty()) {
      group_ = shape.group();
      list_ = candidates(shape.group());
      outcomes_.resize(list_.size() * factors_.size());
    }
    const std::span<const float> queries = read(q);
    const int64_t blocks = sequence.q_len / kBlockRows;
    for (int64_t block = blocks - 1; block >= 0; block -= stride_) {
      const ScoreBlock scores(shape, queries.data(), sequence.q_len, keys_.data(), sequence.kv_len,
                              block * kBlockRows, kBlockRows);
      for (size_t i = 0; i < list_.size(); ++i) {
        for (size_t f = 0; f < factors_.size(); ++f) {
          const bool decode = list_[i].phase == Phase::kDecode;
          // Decode at depth: only the newest rows stand for it.
          if (decode && block < blocks - stride_) {
            continue;
          }
          const float t = skip_threshold_log2(factors_[f], sequence.kv_len);
          outcomes_[i * factors_.size() + f] += scores.replay(list_[i].plan, t);
        }
      }
    }
    std::fprintf(stderr, "\rlayer %d", layer + 1);
  }

  const std::vector<Candidate>& list() const { return list_; }
  // The number in list() of what the published kernels do in `phase`.
  size_t published(Phase phase) const {
    const auto found = std::find_if(list_.begin(), list_.end(), [&](const Candidate& candidate) {
      return candidate.phase == phase && candidate.plan == published_plan(phase, group_);
    });
    check(found != list_.end(), ErrorCode::kInternal, "the published plan is not tried");
    return found - list_.begin();
  }
  const ScoreBlock::Outcome& outcome(size_t candidate, size_t factor) const {
    return outcomes_[candidate * factors_.size() + factor];
  }

 private:
  std::vector<double> factors_;
  int64_t stride_;
  std::vector<float> keys_;
  int group_ = 1;
  std::vector<Candidate> list_;
  std::vector<ScoreBlock::Outcome> outcomes_;
};

struct Timed {
  double seconds = 0.0;
  SkipCounts counts;
};

// Seconds and skipped share of a whole prefill.
Timed prefill(const Checkpoint& checkpoint, Backend& backend, const std::vector<int32_t>& ids,
              int64_t chunk, double factor) {
  EngineOptions options;
  options.chunk_tokens = chunk;
  options.prefix_reuse = false;
  Engine engine(checkpoint, backend, options);
  Request request;
  request.prompt = ids;
  request.max_new_tokens = 1;
  request.threshold_scale_factor = {factor, 0.0};
  const auto start = std::chrono::steady_clock::now();
  engine.add(std::move(request));
  while (!engine.idle()) {
    engine.step();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {elapsed.count(), engine.stats().skip.prefill};
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  check(file.good(), ErrorCode::kNotFound, "cannot read '{}'", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Share skipped where the lost mass reaches `mass`, interpolated between factors; nullopt: never.
std::optional<double> share_at(const Explorer& explorer, size_t candidate, size_t factors,
                               double mass) {
  double last_share = 0.0;
  double last_mass = 0.0;
  for (size_t f = 0; f < factors; ++f) {
    const ScoreBlock::Outcome& o = explorer.outcome(candidate, f);
    const double lost = o.lost_mass / static_cast<double>(o.rows);
    const double share = o.counts.sparsity();
    if (lost >= mass) {
      return last_share + (share - last_share) * (mass - last_mass) / (lost - last_mass);
    }
    last_share = share;
    last_mass = lost;
  }
  return std::nullopt;
}

int run(int argc, char** argv) {
  CLI::App app("Try tile plans on the queries and keys of a real model.");
  std::string model, text_file, csv_file;
  int64_t length = 8191;
  int64_t stride = 4;
  std::vector<std::string> timed_plans;
  double timed_factor = 100.0;
  app.add_option("model", model, "checkpoint")->required();
  app.add_option("text", text_file, "long text")->required();
  app.add_option("--length", length, "prompt tokens");
  app.add_option("--stride", stride, "sample every N-th block of 128 query rows");
  app.add_option("--csv", csv_file, "write all outcomes here");
  app.add_option("--time", timed_plans, "instead, time a prefill with this plan (repeatable)");
  app.add_option("--factor", timed_factor, "threshold scale factor for --time");
  CLI11_PARSE(app, argc, argv);

  const Checkpoint checkpoint = open_checkpoint(model);
  std::vector<int32_t> ids = TextModel(checkpoint).tokenizer().encode(read_file(text_file));
  check(static_cast<int64_t>(ids.size()) >= length, ErrorCode::kInvalidArgument,
        "'{}' has only {} tokens", text_file, ids.size());
  ids.resize(length);

  if (!timed_plans.empty()) {
    fmt::print("| plan | factor | skipped | prefill s |\n|---|---|---|---|\n");
    for (const std::string& plan : timed_plans) {
      BackendOptions options;
      options.tile_plans.prefill = parse_tile_plan(plan);
      const auto backend = make_backend("cpu", options);
      for (double factor : {0.0, timed_factor}) {
        const Timed timed = prefill(checkpoint, *backend, ids, 2048, factor);
        fmt::print("| {} | {} | {:.1f} % | {:.2f} |\n", plan, factor,
                   100.0 * timed.counts.sparsity(), timed.seconds);
        std::fflush(stdout);
      }
    }
    return 0;
  }

  const std::vector<double> factors{0.003, 0.01, 0.03, 0.1, 0.3,  1,    3,
                                    10,    30,   100,  300, 1000, 3000, 8192};
  Explorer explorer(make_backend("cpu"), factors, stride);
  prefill(checkpoint, explorer, ids, length, 0.0);
  std::fprintf(stderr, "\r          \r");

  std::ofstream csv(csv_file.empty() ? "/dev/null" : csv_file);
  csv << "phase,plan,factor,tiles,skipped,lost_mass,worst_lost_mass\n";
  const std::vector<double> masses{0.0003, 0.001, 0.003, 0.01};
  fmt::print(
      "Share skipped at equal lost mass (mean per row), {} prompt tokens; in brackets, times that "
      "of "
      "the published tile\n\n",
      length);
  fmt::print("| phase | rows × keys / span, order | {} |\n|---|---|{}\n", fmt::join(masses, " | "),
             "---|---|---|---|");
  for (size_t i = 0; i < explorer.list().size(); ++i) {
    const auto& [phase, plan] = explorer.list()[i];
    std::string row = fmt::format("| {} | {} |", phase_name(phase), to_string(plan));
    for (double mass : masses) {
      const auto share = share_at(explorer, i, factors.size(), mass);
      const auto base = share_at(explorer, explorer.published(phase), factors.size(), mass);
      row += share && base ? fmt::format(" {:.1f} % ({:.2f}) |", 100.0 * *share, *share / *base)
                           : " – |";
    }
    fmt::print("{}\n", row);
    for (size_t f = 0; f < factors.size(); ++f) {
      const ScoreBlock::Outcome& o = explorer.outcome(i, f);
      csv << fmt::format("{},{},{},{},{},{:.6g},{:.6g}\n", phase_name(phase), to_string(plan),
                         factors[f], o.counts.tiles, o.counts.skipped,
                         o.lost_mass / static_cast<double>(o.rows), o.worst_lost_mass);
    }
  }
  return 0;
}

}  // namespace
}  // namespace hopskip

int main(int argc, char** argv) {
  try {
    return hopskip::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_skip_plans: {}\n", error.what());
    return 1;
  }
}
