// What a checkpoint says about its tokenizer, as plain data; src/text makes a tokenizer of it.
#ifndef HOPSKIP_WEIGHTS_TOKENIZER_SOURCE_H_
#define HOPSKIP_WEIGHTS_TOKENIZER_SOURCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hopskip {

// All views point into the checkpoint's files and live as long as the Checkpoint.
struct TokenizerSource {
  enum class Kind { kNone, kGguf, kHuggingFace };
  Kind kind = Kind::kNone;

  // The Jinja text: GGUF's tokenizer.chat_template, or chat_template.jinja, or the chat_template
  // of tokenizer_config.json (of several, the one named "default"). Empty when there is none.
  std::string chat_template;

  // kGguf: the keys tokenizer.ggml.*.
  std::string model;                     // "gpt2" (byte-level BPE), "llama" (SentencePiece), …
  std::string pre;                       // which pre-tokenizer, e.g. "smollm", "llama-bpe", "qwen2"
  std::vector<std::string_view> tokens;  // id → text, in GPT-2's byte alphabet for "gpt2"
  std::vector<int32_t> token_types;      // per token, or empty: 1 normal, 2 unknown, 3 control,
                                         // 4 user defined, 5 unused, 6 byte
  std::vector<std::string_view> merges;  // "left right", best first
  std::optional<int32_t> bos_id, eos_id;
  std::optional<bool> add_bos, add_eos;

  // kHuggingFace: whole files; empty when the folder has no such file.
  std::string_view tokenizer_json;
  std::string_view tokenizer_config_json;
};

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_TOKENIZER_SOURCE_H_
