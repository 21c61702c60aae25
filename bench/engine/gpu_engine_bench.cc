// gpu_engine_bench: the whole engine on a GPU, without text: prefill and decode speed of a model of
// random weights in a well-known shape, or of a checkpoint. Needs the system's libraries and
// cuBLASLt only.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <list>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "engine/engine.h"
#include "kernels/cuda/backend/entry.h"
#include "weights/checkpoint.h"

namespace hopskip {
namespace {

using Clock = std::chrono::steady_clock;

struct Shape {
  int64_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab;
};
const std::map<std::string, Shape> kShapes{
    {"tiny", {256, 2, 4, 2, 64, 512, 1000}},
    {"smollm2-135m", {576, 30, 9, 3, 64, 1536, 49152}},
    {"llama-3.2-1b", {2048, 16, 32, 8, 64, 8192, 128256}},
    {"llama-3.1-8b", {4096, 32, 32, 8, 128, 14336, 128256}},
    {"qwen3-32b", {5120, 64, 64, 8, 128, 25600, 151936}},
};

// BF16 tensors of random values; tensors of one size share their memory, to spare the host's.
class RandomModel {
 public:
  RandomModel(const std::string& name, const Shape& s, int64_t context) {
    ModelConfig& c = checkpoint_.config;
    checkpoint_.path = checkpoint_.format = "random";
    c.architecture = "llama";
    c.name = name;
    c.hidden_size = s.hidden;
    c.num_layers = s.layers;
    c.num_heads = s.heads;
    c.num_kv_heads = s.kv_heads;
    c.head_dim = s.head_dim;
    c.intermediate_size = s.intermediate;
    c.vocab_size = s.vocab;
    c.max_position = context;
    c.rope_theta = 500000.0;
    c.tie_word_embeddings = true;
    add("model.embed_tokens.weight", {s.vocab, s.hidden});
    add("model.norm.weight", {s.hidden});
    for (int64_t i = 0; i < s.layers; ++i) {
      const std::string layer = fmt::format("model.layers.{}.", i);
      const auto matrix = [&](const char* part, int64_t out, int64_t in) {
        add(layer + part + ".weight", {out, in});
      };
      add(layer + "input_layernorm.weight", {s.hidden});
      add(layer + "post_attention_layernorm.weight", {s.hidden});
      matrix("self_attn.q_proj", s.heads * s.head_dim, s.hidden);
      matrix("self_attn.k_proj", s.kv_heads * s.head_dim, s.hidden);
      matrix("self_attn.v_proj", s.kv_heads * s.head_dim, s.hidden);
      matrix("self_attn.o_proj", s.hidden, s.heads * s.head_dim);
      matrix("mlp.gate_proj", s.intermediate, s.hidden);
      matrix("mlp.up_proj", s.intermediate, s.hidden);
      matrix("mlp.down_proj", s.hidden, s.intermediate);
    }
  }
  Checkpoint& checkpoint() { return checkpoint_; }

 private:
  void add(const std::string& name, const std::vector<int64_t>& shape) {
    TensorView view;
    view.dtype = DType::kBF16;
    view.rank = static_cast<int>(shape.size());
    std::ranges::copy(shape, view.shape.begin());
    std::vector<bf16>& values = by_size_[view.elements()];
    if (values.empty()) {
      // Uniform, of variance 1 / inputs: activations keep their size from layer to layer.
      const float limit = std::sqrt(3.0f / static_cast<float>(shape.back()));
      values.resize(view.elements());
      uint32_t state = 1;
      for (bf16& value : values) {
        state = state * 1664525u + 1013904223u;
        value = bf16(view.rank == 1 ? 1.0f : limit * (std::ldexp(float(state >> 8), -23) - 1.0f));
      }
    }
    view.data = values.data();
    checkpoint_.tensors.emplace(name, view);
  }

  Checkpoint checkpoint_;
  std::map<int64_t, std::vector<bf16>> by_size_;
};

struct Options {
  std::string model = "llama-3.1-8b";
  BackendOptions backend;
  EngineOptions engine;
  std::vector<int64_t> prompts{2048};
  std::vector<int64_t> batches{1, 8};
  int64_t new_tokens = 64;
  PerPhase<double> factor{};
  bool print_tokens = false;
};

// One batch of equal prompts: when each step ended, and whether all sequences decoded in it.
void measure(Engine& engine, const Options& options, int64_t prompt, int64_t batch) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> token(
      0, static_cast<int32_t>(engine.config().vocab_size - 1));
  std::map<RequestId, std::vector<int32_t>> outputs;
  for (int64_t i = 0; i < batch; ++i) {
    Request request;
    request.prompt.resize(prompt);
    std::ranges::generate(request.prompt, [&] { return token(random); });
    request.max_new_tokens = options.new_tokens;
    request.sampling.temperature = 0.0;
    request.threshold_scale_factor = options.factor;
    outputs[engine.add(std::move(request))];
  }
  const auto start = Clock::now();
  const auto seconds_since = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  double prefill_seconds = 0.0;
  std::vector<double> decode_steps;
  PerPhase<SkipCounts> skip;
  size_t begun = 0;
  while (!engine.idle()) {
    const auto step_start = Clock::now();
    const bool decodes = begun == outputs.size();
    size_t tokens = 0;
    for (const Event& event : engine.step()) {
      check(event.error.empty(), ErrorCode::kInternal, "{}", event.error);
      if (event.token) {
        std::vector<int32_t>& output = outputs[event.id];
        begun += output.empty();
        output.push_back(event.token->id);
        ++tokens;
      }
      if (event.finish) {
        for (Phase phase : kPhases) {
          skip[phase] += event.stats->phases[phase].total();
        }
      }
    }
    if (decodes && tokens == outputs.size()) {
      decode_steps.push_back(seconds_since(step_start));
    } else if (begun == outputs.size() && prefill_seconds == 0.0) {
      prefill_seconds = seconds_since(start);
    }
  }
  std::ranges::sort(decode_steps);
  const double median = decode_steps.empty() ? NAN : decode_steps[decode_steps.size() / 2];
  fmt::print(
      "prompt {:>6} batch {:>3}: prefill {:>8.0f} tokens/s, decode {:>7.3f} ms a step (fastest "
      "{:.3f}), {:>7.0f} tokens/s; skipped {:.1f} % and {:.1f} %\n",
      prompt, batch, static_cast<double>(prompt * batch) / prefill_seconds, 1e3 * median,
      decode_steps.empty() ? NAN : 1e3 * decode_steps.front(), static_cast<double>(batch) / median,
      100.0 * skip.prefill.sparsity(), 100.0 * skip.decode.sparsity());
  if (options.print_tokens) {
    for (const auto& [id, output] : outputs) {
      fmt::print("  {}\n", fmt::join(output, " "));
    }
  }
  std::fflush(stdout);
}

void run(const Options& options, int64_t context) {
  const auto shape = kShapes.find(options.model);
  std::list<RandomModel> random;
  std::list<Checkpoint> opened;
  if (shape != kShapes.end()) {
    random.emplace_back(shape->first, shape->second, context);
  } else {
    opened.push_back(open_checkpoint(options.model));
  }
  const Checkpoint& checkpoint = random.empty() ? opened.front() : random.front().checkpoint();
  const auto backend = make_cuda_backend(options.backend);
  const auto start = Clock::now();
  Engine engine(checkpoint, *backend, options.engine);
  fmt::print("{} on {}: loaded {:.2f} GB in {:.1f} s, KV cache of {} tokens in {}\n", options.model,
             backend->description(), 1e-9 * static_cast<double>(checkpoint.tensor_bytes()),
             std::chrono::duration<double>(Clock::now() - start).count(),
             64 * engine.stats().kv_pages, dtype_name(options.engine.kv_dtype));
  Options warm_up = options;  // kernels are loaded, products chosen
  warm_up.new_tokens = 4;
  warm_up.print_tokens = false;
  measure(engine, warm_up, 100, 1);
  for (int64_t prompt : options.prompts) {
    for (int64_t batch : options.batches) {
      measure(engine, options, prompt, batch);
    }
  }
}

int main_of(int argc, char** argv) {
  Options options;
  int64_t context = 131072;
  std::string shapes;
  for (const auto& [name, shape] : kShapes) {
    shapes += " " + name;
  }
  CLI::App app("Measures the engine on a GPU.");
  app.add_option("model", options.model, "A checkpoint, or random weights in one of:" + shapes);
  app.add_option("--device", options.backend.device, "CUDA ordinal");
  app.add_option("--prompt", options.prompts, "Prompt tokens")->delimiter(',');
  app.add_option("--batch", options.batches, "Sequences")->delimiter(',');
  app.add_option("--new", options.new_tokens, "Tokens to generate");
  app.add_option("--chunk", options.engine.chunk_tokens, "Tokens of a step");
  app.add_option("--kv-tokens", options.engine.kv_tokens, "0: what fits");
  app.add_option("--kv-dtype", options.engine.kv_dtype, "Of the KV cache: bf16 or fp8")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, DType>{{"bf16", DType::kBF16}, {"fp8", DType::kF8E4M3}}));
  app.add_option("--max-sequences", options.engine.max_sequences);
  app.add_option("--context", context, "Longest sequence of random weights");
  app.add_option("--prefill-factor", options.factor.prefill, "0: dense");
  app.add_option("--decode-factor", options.factor.decode, "0: dense");
  app.add_flag("--tokens", options.print_tokens, "Print what was generated");
  CLI11_PARSE(app, argc, argv);
  // Repeated prompts must be computed again.
  options.engine.prefix_reuse = false;
  run(options, context);
  return 0;
}

}  // namespace
}  // namespace hopskip

int main(int argc, char** argv) {
  try {
    return hopskip::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_engine_bench: {}\n", error.what());
    return 1;
  }
}
