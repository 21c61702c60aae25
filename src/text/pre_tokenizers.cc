#include "text/pre_tokenizers.h"

#include "base/check.h"

namespace hopskip {
namespace {

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeekPattern =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kCjkPattern = "[一-龥\u3040-ゟ゠-ヿ]+";

const std::vector<PreTokenizerFamily>& families() {
  static const std::vector<PreTokenizerFamily> table = {
      {{"gpt-2", "gpt2"}, {kGpt2Pattern}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"},
       {R"(\p{N})", kGpt2Pattern}},
      {{"llama-bpe", "llama3", "llama-v3"}, {kLlama3Pattern}, Normalizer::kNone, true, true},
      {{"qwen2", "deepseek-r1-qwen"}, {kQwen2Pattern}, Normalizer::kNfc},
      {{"deepseek-v3"},
       {R"(\p{N}{1,3})", kCjkPattern, kDeepSeekPattern},
       Normalizer::kNone,
       false,
       true},
  };
  return table;
}

}  // namespace

const PreTokenizerFamily& find_pre_tokenizer(std::string_view name) {
  std::string known;
  for (const PreTokenizerFamily& family : families()) {
    for (const std::string_view family_name : family.names) {
      if (family_name == name) {
        return family;
      }
      known.append(" ").append(family_name);
    }
  }
  fail(ErrorCode::kUnsupported,
       "tokenizer.ggml.pre: the pre-tokenizer '{}' is not known, these are:{}", name, known);
}

}  // namespace hopskip
