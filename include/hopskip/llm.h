// Text in, text out: load a model, generate, see what Skip Softmax skipped.
//
//   hopskip::LLM llm({.model = "model.gguf"});
//   hopskip::Output out = llm.generate("Once upon a time", {.max_tokens = 32});
#ifndef HOPSKIP_LLM_H_
#define HOPSKIP_LLM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "hopskip/error.h"
#include "hopskip/types.h"

namespace hopskip {

// Where models that are given by name lie. The library reads no environment: programs fill this in.
struct ModelFolders {
  std::string hopskip;       // holds the file of "smollm2-135m"
  std::string hugging_face;  // holds models--org--name/snapshots/…
};

struct LLMOptions {
  // A .gguf file, a folder in Hugging Face layout, "smollm2-135m", or a hub id ("org/name") that is
  // in the local cache.
  std::string model;
  ModelFolders folders = {};

  // "auto" (a GPU where there is one), "cpu", "reference", "cuda" or "cuda:N"
  std::string device = "auto";
  int threads = 0;        // CPU threads; 0: all
  std::string simd = {};  // CPU instruction set: "" (the best), "avx512_bf16", "avx2", …

  int64_t context = 0;  // longest prompt + output in tokens; 0: what the checkpoint claims
  // Tokens the KV cache holds over all requests; 0: one full context (where `context` is 0, too, as
  // much of it as there is memory for), on a GPU what fits
  int64_t kv_tokens = 0;
  // Of the KV cache: "auto" (bf16), "bf16", "f16" (the CPU) or "fp8" (E4M3, on a GPU: twice the
  // tokens in the same memory). vLLM's and torch's names for them ("fp8_e4m3", "float16", …) as
  // well.
  std::string kv_dtype = "auto";
  int64_t chunk_tokens = 0;  // tokens a step processes at most; 0: 2048, on a GPU 8192
  int max_sequences = 64;    // that run at a time; further ones queue
  bool prefix_reuse = true;  // share K and V of common prompt prefixes

  SkipSoftmaxConfig sparse_attention = {};  // for requests that bring none of their own
  std::string profile = {};  // file that target_sparsity needs; "": the checkpoint's own

  // Called by the constructor while weights are loaded: bytes done, of how many.
  std::function<void(int64_t done, int64_t total)> on_load = {};
};

// Sets the options that a YAML document names; the others stay as they are. `where` names the
// document in errors. Keys: the fields of LLMOptions and, in TensorRT-LLM's form,
// sparse_attention_config: {algorithm: skip_softmax, threshold_scale_factor | target_sparsity:
// number or {prefill, decode}}. Throws InvalidArgument naming an unknown key and the nearest known
// one, or a value that does not fit its key.
void apply_yaml(std::string_view yaml, const std::string& where, LLMOptions& options);

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", …
  std::string content;
};

// Text as it is, a conversation (goes through the checkpoint's chat template), or token ids.
using Prompt = std::variant<std::string, std::vector<ChatMessage>, std::vector<int32_t>>;

struct GenerateParams {
  int64_t max_tokens = 128;            // 0: only the prompt is computed
  std::vector<std::string> stop = {};  // the text ends before the first of them
  bool ignore_eos = false;             // generate on after an end token
  SamplingParams sampling{.temperature = 0.0};
  std::optional<SkipSoftmaxConfig> sparse_attention = std::nullopt;  // instead of the LLM's
  // Prompt tokens from this position on are fed one by one, as if they were being generated.
  std::optional<int64_t> decode_from = std::nullopt;
};

// Throws InvalidArgument, naming the parameter, where LLM::submit() would whatever the model is.
void validate(const GenerateParams& params);

// Called on the inference thread; what they throw cancels the request and comes out of wait().
struct GenerateEvents {
  // Valid UTF-8, whole code points only; "" while a stop string may be beginning. `token` is null
  // for text that was held back to the end.
  std::function<void(std::string_view text, const SampledToken* token)> on_text = {};
  // Prompt tokens done, of how many; after each step.
  std::function<void(int64_t done, int64_t total)> on_prefill = {};
  // logprobs[i] = log p(prompt[begin + i + 1] | prompt[0 … begin + i]); rising, without gaps.
  std::function<void(int64_t begin, std::span<const float> logprobs)> on_prompt_logprobs = {};
};

struct GenerationStats : SequenceStats {
  // What a user should know of this request, one line each: "prefill: dense, 120 tokens are below
  // the profile's minimum context of 4096".
  std::vector<std::string> notices;

  double ttft_s() const;                // time to the first token, waiting in the queue included
  double prefill_tokens_per_s() const;  // prompt tokens computed, over the time to the first token
  double tpot_s() const;                // time per output token after the first; 0 for fewer than 2
};

struct Output {
  std::string text;  // valid UTF-8, without control tokens
  std::vector<int32_t> tokens;
  FinishReason finish_reason = FinishReason::kStop;
  GenerationStats stats;
};

// Facts about what was loaded.
struct ModelInfo {
  std::string model;  // as the user called it
  std::string name;   // the checkpoint's own, or that of its file; profiles are made for it
  std::string path;
  std::string format;        // "gguf" or "safetensors"
  std::string architecture;  // "llama", …
  std::string device;        // "cpu (avx512_bf16, 2 threads)"
  std::string kv_dtype;
  int64_t num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0, hidden_size = 0;
  int64_t vocab_size = 0;
  // 0 in a dense model.
  int64_t num_experts = 0, num_experts_per_tok = 0;
  int64_t context = 0;      // longest prompt + output
  int64_t max_context = 0;  // what the checkpoint claims
  int64_t tensor_bytes = 0;
  bool has_chat_template = false;
  PerPhase<std::string> tile_plan;          // which rows and keys vote together
  PerPhase<double> threshold_scale_factor;  // for requests that bring none of their own
  // What a user should know of how it was loaded, one line each: "KV cache of 4096 tokens: there is
  // memory for no more of the context of 131072".
  std::vector<std::string> notices;
};

// A request on its way. May outlive the LLM, which cancels what it still holds.
class Generation {
 public:
  struct State;  // the library's own

  Generation(Generation&&) noexcept = default;
  Generation& operator=(Generation&&) noexcept = default;
  ~Generation();
  // Ends the request after the step that is running; it finishes as kCancelled.
  void cancel();
  // True once the request has finished; waits for that, at most `seconds`.
  bool wait_for(double seconds) const;
  // Blocks until the request has finished. Throws what went wrong. To be called once.
  Output wait();

 private:
  friend class LLM;
  explicit Generation(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// A model with its inference thread. Every member function may be called from any thread.
class LLM {
 public:
  // Throws NotFound (with the command that downloads the model), Corrupt, Unsupported, OutOfMemory
  // before anything is loaded, or InvalidArgument naming the option.
  explicit LLM(LLMOptions options);
  // Cancels what is running.
  ~LLM();
  LLM(const LLM&) = delete;
  LLM& operator=(const LLM&) = delete;

  // Queues a request; requests in flight are batched. Throws InvalidArgument for an empty prompt,
  // one that leaves no room in the context, or parameters out of range.
  Generation submit(const Prompt& prompt, const GenerateParams& params = {},
                    GenerateEvents events = {});
  // submit() and wait().
  Output generate(const Prompt& prompt, const GenerateParams& params = {},
                  GenerateEvents events = {});
  // All prompts at once; outputs in their order.
  std::vector<Output> generate(std::span<const Prompt> prompts, const GenerateParams& params = {});

  // The ids that submit() would compute.
  std::vector<int32_t> encode(const Prompt& prompt) const;
  // Valid UTF-8, without control tokens. Throws InvalidArgument for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> tokens) const;

  const ModelInfo& info() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hopskip

#endif  // HOPSKIP_LLM_H_
