// Writes the engine's logits of a token sequence, [T][vocab] float32, for comparison with others.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>

#include "engine/engine.h"

namespace {

using namespace hopskip;

struct Options {
  std::string model, tokens, out;
  std::string backend = "auto";
  BackendOptions device;
  EngineOptions engine;
  Request request;
  int64_t decode_from = -1;
};

void run(Options options) {
  const Checkpoint checkpoint = open_checkpoint(options.model);
  const std::unique_ptr<Backend> backend = make_backend(options.backend, options.device);
  options.engine.max_sequences = 1;
  Engine engine(checkpoint, *backend, options.engine);

  std::ifstream tokens(options.tokens);
  std::ofstream out(options.out, std::ios::binary);
  Request& request = options.request;
  request.prompt.assign(std::istream_iterator<int32_t>(tokens), {});
  if (options.decode_from >= 0) {
    request.decode_from = options.decode_from;
  }
  request.max_new_tokens = 0;
  request.on_prompt_logits = [&](const PromptLogits& block) {
    out.write(reinterpret_cast<const char*>(block.logits.data()),
              static_cast<std::streamsize>(block.logits.size_bytes()));
  };
  engine.add(std::move(request));
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      if (event.finish == FinishReason::kError) {
        throw std::runtime_error(event.error);
      }
      std::cout << "{\"backend\": \"" << backend->description()
                << "\", \"seconds\": " << event.stats->finished_s;
      for (Phase phase : kPhases) {
        const PhaseStats& stats = event.stats->phases[phase];
        std::cout << ", \"" << phase_name(phase) << "\": {\"tokens\": " << stats.tokens
                  << ", \"steps\": " << stats.steps << ", \"tiles\": " << stats.total().tiles
                  << ", \"skipped\": " << stats.total().skipped << "}";
      }
      std::cout << "}\n";
    }
  }
  if (!out.flush()) {
    throw std::runtime_error("cannot write " + options.out);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Writes the logits of every position of a token sequence.");
  app.add_option("MODEL", options.model)->required();
  app.add_option("TOKENS", options.tokens, "text file of token ids")->required();
  app.add_option("OUT", options.out, "raw float32 [T][vocab]")->required();
  app.add_option("--backend", options.backend);
  app.add_option("--simd", options.device.simd);
  app.add_option("--threads", options.device.threads);
  app.add_option("--chunk", options.engine.chunk_tokens);
  app.add_option("--decode-from", options.decode_from);
  app.add_option("--prefill-factor", options.request.threshold_scale_factor.prefill);
  app.add_option("--decode-factor", options.request.threshold_scale_factor.decode);
  CLI11_PARSE(app, argc, argv);
  try {
    run(std::move(options));
  } catch (const std::exception& error) {
    std::cerr << "logits_probe: " << error.what() << "\n";
    return 1;
  }
}
