// Writes the engine's logits of a token sequence, [T][vocab] float32, for comparison with others.
//
// With --forced-from N the first N tokens are the prompt, and the others come as generated tokens
// do: sampled, though from logits in which the wanted one was raised. These are the steps that a
// GPU replays as graphs. --sequences K: K at once, of which number i has a prompt of N + i tokens;
// the rows of each follow those of the one before, from position N + i - 1 on.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/check.h"
#include "engine/engine.h"
#include "support/teacher_forcing.h"

namespace {

using namespace hopskip;

struct Options {
  std::string model, tokens, out;
  std::string backend = "auto";
  BackendOptions device;
  EngineOptions engine;
  Request request;
  int64_t decode_from = -1;
  int64_t forced_from = 0;
  int64_t sequences = 1;
};

std::vector<int32_t> read_tokens(const std::string& path) {
  std::ifstream file(path);
  return {std::istream_iterator<int32_t>(file), {}};
}

void print(const Backend& backend, const Checkpoint& checkpoint, double load_seconds,
           const SequenceStats& stats) {
  std::cout << "{\"backend\": \"" << backend.description()
            << "\", \"tensor_bytes\": " << checkpoint.tensor_bytes()
            << ", \"load_seconds\": " << load_seconds << ", \"seconds\": " << stats.finished_s;
  for (Phase phase : kPhases) {
    const PhaseStats& of_phase = stats.phases[phase];
    std::cout << ", \"" << phase_name(phase) << "\": {\"tokens\": " << of_phase.tokens
              << ", \"steps\": " << of_phase.steps << ", \"tiles\": " << of_phase.total().tiles
              << ", \"skipped\": " << of_phase.total().skipped << "}";
  }
  std::cout << "}\n";
}

void write(std::ofstream& out, std::span<const float> logits) {
  out.write(reinterpret_cast<const char*>(logits.data()),
            static_cast<std::streamsize>(logits.size_bytes()));
}

void run(Options options) {
  const Checkpoint checkpoint = open_checkpoint(options.model);
  const std::unique_ptr<Backend> backend = make_backend(options.backend, options.device);
  options.engine.max_sequences = 1;
  const auto start = std::chrono::steady_clock::now();
  Engine engine(checkpoint, *backend, options.engine);
  const std::chrono::duration<double> loading = std::chrono::steady_clock::now() - start;

  std::ofstream out(options.out, std::ios::binary);
  Request& request = options.request;
  request.prompt = read_tokens(options.tokens);
  if (options.decode_from >= 0) {
    request.decode_from = options.decode_from;
  }
  request.max_new_tokens = 0;
  request.on_prompt_logits = [&](const PromptLogits& block) { write(out, block.logits); };
  engine.add(std::move(request));
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      if (event.finish == FinishReason::kError) {
        throw std::runtime_error(event.error);
      }
      print(*backend, checkpoint, loading.count(), *event.stats);
    }
  }
  if (!out.flush()) {
    throw std::runtime_error("cannot write " + options.out);
  }
}

void run_forced(Options options) {
  const Checkpoint checkpoint = open_checkpoint(options.model);
  const std::vector<int32_t> tokens = read_tokens(options.tokens);
  const auto count = std::ssize(tokens);
  check(options.forced_from + options.sequences <= count, ErrorCode::kInvalidArgument,
        "{} tokens are too few for {} sequences forced from {} on", count, options.sequences,
        options.forced_from);
  test::TeacherForcing backend(
      make_backend(options.backend, options.device),
      [&](int32_t, int64_t position) { return position + 1 < count ? tokens[position + 1] : -1; });
  options.engine.max_sequences = static_cast<int>(options.sequences);
  options.engine.kv_tokens = options.sequences * (count + 64);
  options.engine.prefix_reuse = false;
  const auto start = std::chrono::steady_clock::now();
  Engine engine(checkpoint, backend, options.engine);
  const std::chrono::duration<double> loading = std::chrono::steady_clock::now() - start;
  for (int64_t i = 0; i < options.sequences; ++i) {
    Request request = options.request;
    request.prompt.assign(tokens.begin(), tokens.begin() + options.forced_from + i);
    request.max_new_tokens = count - std::ssize(request.prompt) + 1;
    request.sampling.temperature = 0.0;
    engine.add(std::move(request));
  }
  std::vector<int32_t> first_pages;               // of the sequences, as they appear: in order
  std::vector<std::vector<test::LogitRow>> rows;  // of each
  std::shared_ptr<const SequenceStats> stats;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      check(event.error.empty(), ErrorCode::kInternal, "{}", event.error);
      stats = event.finish ? event.stats : stats;
    }
    for (test::LogitRow& row : backend.take_rows()) {
      const auto known = std::ranges::find(first_pages, row.first_page);
      const auto place = known - first_pages.begin();
      if (known == first_pages.end()) {
        first_pages.push_back(row.first_page);
        rows.emplace_back();
      }
      rows[place].push_back(std::move(row));
    }
  }
  std::ofstream out(options.out, std::ios::binary);
  check(std::ssize(rows) == options.sequences, ErrorCode::kInternal, "{} sequences were seen",
        rows.size());
  for (int64_t i = 0; i < options.sequences; ++i) {
    int64_t position = options.forced_from + i - 1;
    for (const test::LogitRow& row : rows[i]) {
      check(row.position == position++, ErrorCode::kInternal, "rows are missing");
      write(out, row.logits);
    }
    check(position == count, ErrorCode::kInternal, "rows end at {} of {}", position, count);
  }
  check(static_cast<bool>(out.flush()), ErrorCode::kInternal, "cannot write {}", options.out);
  print(backend, checkpoint, loading.count(), *stats);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Writes the logits of every position of a token sequence.");
  app.add_option("MODEL", options.model)->required();
  app.add_option("TOKENS", options.tokens, "text file of token ids")->required();
  app.add_option("OUT", options.out, "raw float32 [T][vocab]")->required();
  app.add_option("--device", options.backend);
  app.add_option("--simd", options.device.simd);
  app.add_option("--threads", options.device.threads);
  app.add_option("--kv-tokens", options.engine.kv_tokens);
  app.add_option("--chunk", options.engine.chunk_tokens);
  app.add_option("--decode-from", options.decode_from);
  app.add_option("--forced-from", options.forced_from);
  app.add_option("--sequences", options.sequences);
  app.add_option("--prefill-factor", options.request.threshold_scale_factor.prefill);
  app.add_option("--decode-factor", options.request.threshold_scale_factor.decode);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.forced_from > 0) {
      run_forced(std::move(options));
    } else {
      run(std::move(options));
    }
  } catch (const std::exception& error) {
    std::cerr << "logits_probe: " << error.what() << "\n";
    return 1;
  }
}
