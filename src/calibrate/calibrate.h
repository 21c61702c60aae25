// Makes a skip profile: what a model skips at several factors, the law through it, and the contexts
// at which the law was found to hold.
#ifndef HOPSKIP_CALIBRATE_CALIBRATE_H_
#define HOPSKIP_CALIBRATE_CALIBRATE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "attention/profile.h"
#include "calibrate/fit.h"
#include "hopskip/llm.h"

namespace hopskip {

struct CalibrationOptions {
  int64_t length = 0;  // tokens of a window, which follow one another; 0: 8192 or the context
  int64_t windows = 1;
  int64_t decode_tokens = 64;  // of each window, the last ones: they are decoded
  // Where the fit shall be best; a phase with 0 is left out of the profile.
  PerPhase<double> target{0.5, 0.5};
  // A run takes one factor of each phase, so both lists cost as much as the longer one.
  PerPhase<std::vector<double>> factors{{1, 3, 10, 30, 100, 300}, {0.1, 0.3, 1, 3, 10, 30}};
};

// What the fitted factors skip in windows of one length.
struct Verification {
  int64_t length = 0;
  PerPhase<double> sparsity;
  bool holds = false;
};

struct Calibration {
  // min_context is the shortest length at which the fit holds.
  SkipProfile profile;
  PerPhase<std::vector<SkipPoint>> points;
  std::vector<Verification> verified;  // longest first; only the last may not hold
};

// Tokens done, of how many.
using CalibrationProgress = std::function<void(int64_t done, int64_t total)>;

// Measures, fits, and verifies: at the full length the factor for the target must skip the target
// within 10 points; then the length is halved, to 512 at the least, for as long as it skips no more
// than 10 points above the target. Shorter sequences than the last of these run dense.
// Throws InvalidArgument where an option is out of range, the text too short, or no fit is found.
Calibration calibrate(LLM& llm, std::span<const int32_t> text, CalibrationOptions options,
                      const CalibrationProgress& progress = {});

}  // namespace hopskip

#endif  // HOPSKIP_CALIBRATE_CALIBRATE_H_
