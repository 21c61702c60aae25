// The pre-tokenizers that have names.
#ifndef HOPSKIP_TEXT_PRE_TOKENIZERS_H_
#define HOPSKIP_TEXT_PRE_TOKENIZERS_H_

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_data.h"

namespace hopskip {

inline constexpr size_t kMaxVocabulary = size_t{1} << 20;

// The pattern of GPT-2, which the ByteLevel component applies.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// A pre-tokenizer as GGUF names it (tokenizer.ggml.pre), with what else goes with that family.
struct PreTokenizerFamily {
  std::vector<std::string_view> names;
  std::vector<std::string_view> patterns;  // matches are isolated, one step each
  Normalizer normalizer = Normalizer::kNone;
  bool ignore_merges = false;
  bool add_bos = false;
};

// Throws Unsupported naming the known ones.
const PreTokenizerFamily& find_pre_tokenizer(std::string_view name);

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_PRE_TOKENIZERS_H_
