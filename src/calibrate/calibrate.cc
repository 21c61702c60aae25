#include "calibrate/calibrate.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr ErrorCode kInvalid = ErrorCode::kInvalidArgument;
constexpr int64_t kUsualLength = 8192;
constexpr int64_t kShortestVerified = 512;
constexpr double kTolerance = 0.10;

void check_options(const LLM& llm, int64_t tokens, const CalibrationOptions& options) {
  const int64_t context = llm.info().context;
  check(options.length >= 2 && options.length <= context, kInvalid,
        "a window of {} tokens does not fit: the length must lie in 2…{}, the context",
        options.length, context);
  check(options.windows >= 1, kInvalid, "windows is {}; it must be 1 or above", options.windows);
  check(options.windows <= tokens / options.length, kInvalid,
        "the text has {} tokens, which is {} windows of {}: {} cannot be had; give more text or a "
        "smaller length",
        tokens, tokens / options.length, options.length, options.windows);
  check(options.decode_tokens >= 1 && options.decode_tokens < options.length, kInvalid,
        "{} tokens to decode is outside 1…{}, the window without its first token",
        options.decode_tokens, options.length - 1);
  check(options.target.prefill != 0.0 || options.target.decode != 0.0, kInvalid,
        "the target sparsity is 0 in both phases: there is nothing to calibrate");
  for (Phase phase : kPhases) {
    check(options.target[phase] == 0.0 ||
              (options.target[phase] >= kLeastFitted && options.target[phase] <= kMostFitted),
          kInvalid, "the target sparsity for {} is {}; it must be 0 (left out) or lie in {}…{}",
          phase_name(phase), options.target[phase], kLeastFitted, kMostFitted);
    for (double factor : options.factors[phase]) {
      check(
          factor > 0.0 && factor < static_cast<double>(options.length), kInvalid,
          "the {} factor {:g} is outside 0…{}; it must be a number above 0 and below the window's "
          "tokens, from which on the threshold would be clamped",
          phase_name(phase), factor, options.length);
    }
  }
}

class Calibrator {
 public:
  Calibrator(LLM& llm, std::span<const int32_t> text, const CalibrationOptions& options,
             const CalibrationProgress& progress)
      : llm_(llm), text_(text), options_(options), progress_(progress) {
    for (Phase phase : kPhases) {
      if (options.target[phase] == 0.0) {
        options_.factors[phase].clear();
      }
      runs_ = std::max(runs_, options_.factors[phase].size());
    }
    // The verification takes the full length, half of it, and so on.
    total_ = options.windows * (static_cast<int64_t>(runs_) + 2) * options.length;
  }

  Calibration run() {
    Calibration result;
    for (size_t i = 0; i < runs_; ++i) {
      PerPhase<double> factors;
      for (Phase phase : kPhases) {
        factors[phase] = i < options_.factors[phase].size() ? options_.factors[phase][i] : 0.0;
      }
      const PerPhase<double> sparsity = measure(options_.length, factors);
      for (Phase phase : kPhases) {
        if (factors[phase] > 0.0) {
          result.points[phase].push_back({factors[phase], sparsity[phase]});
        }
      }
    }
    result.profile = fit(result.points);
    verify(result);
    return result;
  }

 private:
  // Sparsity of all windows, cut to their first `length` tokens; both phases in one go.
  PerPhase<double> measure(int64_t length, const PerPhase<double>& factors) {
    const int64_t decoded =
        options_.target.decode > 0.0 ? std::min(options_.decode_tokens, length - 1) : 0;
    PerPhase<SkipCounts> counts;
    for (int64_t window = 0; window < options_.windows; ++window) {
      const auto tokens = text_.subspan(window * options_.length, length);
      const Output output =
          llm_.generate(std::vector<int32_t>(tokens.begin(), tokens.end()),
                        {.max_tokens = 0,
                         .sparse_attention = SkipSoftmaxConfig{.threshold_scale_factor = factors},
                         // Even where nothing is decoded: it keeps the prompt from reusing keys
                         // that were computed in an earlier run and would not be counted.
                         .decode_from = length - decoded},
                        {.on_prefill = [&](int64_t done, int64_t) { report(done); }});
      for (Phase phase : kPhases) {
        counts[phase] += output.stats.phases[phase].total();
      }
      done_ += length;
    }
    return {counts.prefill.sparsity(), counts.decode.sparsity()};
  }

  void report(int64_t done) const {
    if (progress_) {
      progress_(std::min(done_ + done, total_), total_);
    }
  }

  SkipProfile fit(const PerPhase<std::vector<SkipPoint>>& points) const {
    SkipProfile profile{.model = llm_.info().name};
    for (Phase phase : kPhases) {
      if (options_.target[phase] == 0.0) {
        continue;
      }
      try {
        profile.fit[phase] = fit_factors(points[phase], options_.target[phase]);
      } catch (const Error& error) {
        fail(error.code(), "{}: {}", phase_name(phase), error.what());
      }
      profile.plan[phase] = parse_tile_plan(llm_.info().tile_plan[phase]);
    }
    return profile;
  }

  void verify(Calibration& result) {
    PerPhase<double> factors;
    for (Phase phase : kPhases) {
      factors[phase] = factor_for_sparsity(result.profile, phase, options_.target[phase]);
    }
    for (int64_t length = options_.length; length == options_.length || length >= kShortestVerified;
         length /= 2) {
      const PerPhase<double> sparsity = measure(length, factors);
      const bool full = length == options_.length;
      bool holds = true;
      for (Phase phase : kPhases) {
        const double excess = sparsity[phase] - options_.target[phase];
        check(!full || std::abs(excess) <= kTolerance, kInvalid,
              "{}: the fitted factor {:g} skips {:.1f} % instead of {:.1f} %: give more factors "
              "around it",
              phase_name(phase), factors[phase], 100.0 * sparsity[phase],
              100.0 * options_.target[phase]);
        holds = holds && excess <= kTolerance;
      }
      result.verified.push_back({length, sparsity, holds});
      if (!holds) {
        break;
      }
      result.profile.min_context = length;
    }
  }

  LLM& llm_;
  std::span<const int32_t> text_;
  CalibrationOptions options_;
  const CalibrationProgress& progress_;
  size_t runs_ = 0;
  int64_t done_ = 0;
  int64_t total_ = 0;
};

}  // namespace

Calibration calibrate(LLM& llm, std::span<const int32_t> text, CalibrationOptions options,
                      const CalibrationProgress& progress) {
  if (options.length == 0) {
    options.length = std::min(kUsualLength, llm.info().context);
  }
  check_options(llm, static_cast<int64_t>(text.size()), options);
  return Calibrator(llm, text, options, progress).run();
}

}  // namespace hopskip
