// Streams an answer, then says what Skip Softmax skipped.
//   example_generate MODEL.gguf PROMPT [FACTOR]
#include <cstdio>
#include <cstdlib>

#include "hopskip/llm.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: example_generate MODEL PROMPT [FACTOR]\n"
                 "MODEL: a .gguf file or a folder in Hugging Face layout\n");
    return 2;
  }
  try {
    hopskip::LLMOptions options{.model = argv[1]};
    if (argc > 3) {
      const double factor = std::atof(argv[3]);
      options.sparse_attention.threshold_scale_factor = {factor, factor};
    }
    hopskip::LLM llm(options);
    const hopskip::Output output =
        llm.generate(std::string(argv[2]), {.max_tokens = 64, .stop = {"\n\n"}},
                     {.on_text = [](std::string_view text, const hopskip::SampledToken*) {
                       std::fwrite(text.data(), 1, text.size(), stdout);
                       std::fflush(stdout);
                     }});
    std::printf("\n%lld tokens after %.2f s; skipped %.1f %% of the prompt's tiles\n",
                static_cast<long long>(output.stats.generated_tokens), output.stats.ttft_s(),
                100.0 * output.stats.phases.prefill.total().sparsity());
  } catch (const hopskip::Error& error) {
    std::fprintf(stderr, "example_generate: %s\n", error.what());
    return 1;
  }
}
