// Whether two backends agree on a real model and a long prompt of real text.
//
// The first backend generates greedily; all others are then forced along its tokens, so that a near
// tie does not end the comparison. Three measures, each in the model's own logits:
//   sigma     what rounding every weight and activation to BF16 costs the first backend's F32
//             arithmetic: root mean square over all logits, without each row's mean, which
//             probabilities do not see;
//   error     the same of the second backend, which may be 2 sigma;
//   near tie  a token that differs although its logits are this close: two logits that may each be
//             2 sigma off differ by 2 sqrt(2) sigma, and three times that is 8.5 sigma.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "engine/engine.h"
#include "llm/text_model.h"
#include "support/rounding_backend.h"
#include "support/teacher_forcing.h"

namespace {

using namespace hopskip;

constexpr double kMostError = 2.0;     // sigma
constexpr double kNearTie = 8.5;       // sigma
constexpr int64_t kBytesPerToken = 8;  // of text, more than any tokenizer needs for prose

// The second backend's factors for the first's shares are looked for by halving this range, up and
// down from the first's, so many times.
constexpr double kFactorRange = 256.0;
constexpr int kMatchSteps = 10;

using Logits = std::vector<std::vector<float>>;  // of each generated token: [vocab]

struct Options {
  std::string model, text;
  std::string first = "cpu";
  std::string second = "cuda";
  int threads = 0;
  int64_t prompt_tokens = 6000;
  int64_t new_tokens = 256;
  PerPhase<double> factor;
  bool match = false;
};

struct Run {
  Logits logits;
  std::vector<int32_t> tokens;
  PerPhase<SkipCounts> skip;
};

// forced: the tokens that are to come, or none to choose freely.
Run run(const char* what, std::unique_ptr<Backend> made, const Checkpoint& checkpoint,
        const Options& options, const std::vector<int32_t>& prompt,
        const std::vector<int32_t>& forced, PerPhase<double> factor) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t first = std::ssize(prompt) - 1;
  test::TeacherForcing backend(std::move(made), [&](int32_t, int64_t position) {
    return forced.empty() || position < first ? -1 : forced[position - first];
  });
  Engine engine(checkpoint, backend,
                {.kv_tokens = std::ssize(prompt) + options.new_tokens, .max_sequences = 1});
  Request request;
  request.prompt = prompt;
  request.max_new_tokens = options.new_tokens;
  request.sampling.temperature = 0.0;
  request.threshold_scale_factor = factor;
  engine.add(std::move(request));
  Run result;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      check(event.error.empty(), ErrorCode::kInternal, "{}: {}", what, event.error);
      if (event.token) {
        result.tokens.push_back(event.token->id);
      }
      if (event.finish) {
        result.skip = {event.stats->phases.prefill.total(), event.stats->phases.decode.total()};
      }
    }
    for (test::LogitRow& row : backend.take_rows()) {
      result.logits.push_back(std::move(row.logits));
    }
  }
  check(std::ssize(result.logits) == options.new_tokens, ErrorCode::kInternal,
        "{}: {} rows of logits for {} tokens", what, result.logits.size(), options.new_tokens);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print("{:<22} {} ({:.1f} s)\n", what, backend.description(), seconds.count());
  std::fflush(stdout);
  return result;
}

// Root mean square of the differences, each row without its mean. NaN where a logit is not finite.
double distance(const Logits& a, const Logits& b) {
  double sum = 0.0;
  double count = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto n = static_cast<double>(a[i].size());
    double mean = 0.0;
    double squares = 0.0;
    for (size_t k = 0; k < a[i].size(); ++k) {
      const double d = double{a[i][k]} - double{b[i][k]};
      mean += d / n;
      squares += d * d;
    }
    sum += squares - n * mean * mean;
    count += n;
  }
  return std::sqrt(sum / count);
}

// Kullback-Leibler divergence of b from a, nats a token.
double divergence(const Logits& a, const Logits& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_a = log_sum_exp(a[i]);
    const double log_b = log_sum_exp(b[i]);
    for (size_t k = 0; k < a[i].size(); ++k) {
      const double p = a[i][k] - log_a;
      sum += std::exp(p) * (p - (b[i][k] - log_b));
    }
  }
  return sum / static_cast<double>(a.size());
}

size_t arg_max(const std::vector<float>& x) {
  return static_cast<size_t>(std::ranges::max_element(x) - x.begin());
}

int64_t different_tokens(const Logits& a, const Logits& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    count += arg_max(a[i]) != arg_max(b[i]);
  }
  return count;
}

// Lists the tokens that differ; how many of them are no near ties.
int64_t list_differences(const Logits& a, const Logits& b, double sigma) {
  int64_t wrong = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const size_t of_a = arg_max(a[i]);
    const size_t of_b = arg_max(b[i]);
    if (of_a == of_b) {
      continue;
    }
    const double margin_a = double{a[i][of_a]} - double{a[i][of_b]};
    const double margin_b = double{b[i][of_b]} - double{b[i][of_a]};
    const bool near = std::max(margin_a, margin_b) <= kNearTie * sigma;
    wrong += !near;
    fmt::print(
        "  generated token {}: {} by {:.4f} ({:.1f} sigma) and {} by {:.4f} ({:.1f} sigma){}\n", i,
        of_a, margin_a, margin_a / sigma, of_b, margin_b, margin_b / sigma,
        near ? "" : ": NO NEAR TIE");
  }
  return wrong;
}

bool agree(const Options& options) {
  const Checkpoint checkpoint = open_checkpoint(options.model);
  std::ifstream file(options.text, std::ios::binary);
  check(file.good(), ErrorCode::kNotFound, "cannot open '{}'", options.text);
  std::string text(std::istreambuf_iterator<char>(file), {});
  text.resize(std::min<size_t>(text.size(), options.prompt_tokens * kBytesPerToken));
  while (!text.empty() && (text.back() & 0x80) != 0) {  // not within a code point
    text.pop_back();
  }
  std::vector<int32_t> prompt = TextModel(checkpoint).encode(text);
  check(std::ssize(prompt) >= options.prompt_tokens, ErrorCode::kInvalidArgument,
        "'{}' has {} tokens; {} are wanted", options.text, prompt.size(), options.prompt_tokens);
  prompt.resize(options.prompt_tokens);

  const BackendOptions any{.threads = options.threads};
  BackendOptions plain = any;  // F32 throughout
  plain.simd = "avx2";
  const auto go = [&](const char* what, std::unique_ptr<Backend> backend,
                      const std::vector<int32_t>& forced, PerPhase<double> factor = {}) {
    return run(what, std::move(backend), checkpoint, options, prompt, forced, factor);
  };
  const Run a = go("first", make_backend(options.first, any), {});
  const Run b = go("second", make_backend(options.second, any), a.tokens);
  const Run exact = go("F32", make_backend("cpu", plain), a.tokens);
  const Run rounded =
      go("rounded to BF16", std::make_unique<test::RoundingBackend>(make_backend("cpu", plain)),
         a.tokens);

  const double sigma = distance(rounded.logits, exact.logits);
  const double error = distance(b.logits, exact.logits);
  fmt::print("\ndense: {} prompt tokens, {} generated\n", prompt.size(), a.tokens.size());
  fmt::print("  sigma {:.4g}; first {:.2f} sigma, second {:.2f} sigma from F32\n", sigma,
             distance(a.logits, exact.logits) / sigma, error / sigma);
  fmt::print("  KL from F32: rounded {:.3g}, first {:.3g}, second {:.3g} nats a token\n",
             divergence(exact.logits, rounded.logits), divergence(exact.logits, a.logits),
             divergence(exact.logits, b.logits));
  fmt::print("  tokens that differ: second from first {}, rounded from F32 {}, of {}\n",
             different_tokens(a.logits, b.logits), different_tokens(exact.logits, rounded.logits),
             a.tokens.size());
  const int64_t wrong = list_differences(a.logits, b.logits, sigma);
  bool good = true;
  if (!(error <= kMostError * sigma)) {
    fmt::print("FAILED: second is more than {} sigma from F32\n", kMostError);
    good = false;
  }
  if (wrong > 0) {
    fmt::print("FAILED: {} tokens differ that are no near ties ({} sigma)\n", wrong, kNearTie);
    good = false;
  }
  if (options.factor.prefill == 0.0 && options.factor.decode == 0.0) {
    return good;
  }

  const Run sparse_a =
      go("\nfirst, sparse", make_backend(options.first, any), a.tokens, options.factor);
  const Run sparse_b =
      go("second, sparse", make_backend(options.second, any), a.tokens, options.factor);
  fmt::print("\nsparse: factors {:g} in prefill, {:g} in decode\n", options.factor.prefill,
             options.factor.decode);
  for (Phase phase : kPhases) {
    fmt::print("  skipped in {}: first {:.2f} %, second {:.2f} %\n", phase_name(phase),
               100.0 * sparse_a.skip[phase].sparsity(), 100.0 * sparse_b.skip[phase].sparsity());
    if (options.factor[phase] > 0.0 && sparse_b.skip[phase].skipped == 0) {
      fmt::print("FAILED: second skips nothing in {}\n", phase_name(phase));
      good = false;
    }
  }
  // Tile plans differ, and with them what a factor skips.
  Run matched_b;
  if (options.match) {
    PerPhase<double> low{options.factor.prefill / kFactorRange,
                         options.factor.decode / kFactorRange};
    PerPhase<double> high{options.factor.prefill * kFactorRange,
                          options.factor.decode * kFactorRange};
    PerPhase<double> middle;
    fmt::print("\nthe second's factors for the first's shares:\n");
    for (int i = 0; i < kMatchSteps; ++i) {
      for (Phase phase : kPhases) {
        middle[phase] = std::sqrt(low[phase] * high[phase]);
      }
      matched_b = go("second, sparse", make_backend(options.second, any), a.tokens, middle);
      for (Phase phase : kPhases) {
        const bool more = matched_b.skip[phase].sparsity() < sparse_a.skip[phase].sparsity();
        (more ? low : high)[phase] = middle[phase];
      }
    }
    fmt::print("  {:.3g} in prefill skips {:.2f} %, {:.3g} in decode {:.2f} %\n", middle.prefill,
               100.0 * matched_b.skip.prefill.sparsity(), middle.decode,
               100.0 * matched_b.skip.decode.sparsity());
  }
  const auto compare = [&](const char* what, const Run& from, const Run& to) {
    fmt::print("  {:<27} {:>4} tokens differ, {:.1f} sigma, KL {:.3g}\n", what,
               different_tokens(from.logits, to.logits), distance(from.logits, to.logits) / sigma,
               divergence(from.logits, to.logits));
  };
  compare("second from first, sparse", sparse_a, sparse_b);
  compare("first, sparse from dense", a, sparse_a);
  compare("second, sparse from dense", b, sparse_b);
  if (options.match) {
    compare("second, matched from dense", b, matched_b);
    compare("second, matched from first", sparse_a, matched_b);
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Compares two backends on a real model, dense and with skipped tiles.");
  app.add_option("MODEL", options.model)->required();
  app.add_option("TEXT", options.text, "a file of real text, long enough")->required();
  app.add_option("--first", options.first)->capture_default_str();
  app.add_option("--second", options.second)->capture_default_str();
  app.add_option("--threads", options.threads, "of the CPU; 0: all");
  app.add_option("--prompt-tokens", options.prompt_tokens)->capture_default_str();
  app.add_option("-n", options.new_tokens, "tokens to generate")->capture_default_str();
  app.add_option("--prefill-factor", options.factor.prefill, "0: no sparse runs");
  app.add_option("--decode-factor", options.factor.decode);
  app.add_flag("--match", options.match,
               "find factors at which the second skips as much as the first");
  CLI11_PARSE(app, argc, argv);
  try {
    return agree(options) ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "backend_agreement: {}\n", error.what());
    return 1;
  }
}
