#include <unordered_map>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizers.h"
#include "text/tokenizer_data.h"

namespace hopskip {
namespace {

enum GgufTokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

using TokenIds = std::unordered_map<std::string_view, int32_t>;

std::pair<int32_t, int32_t> parse_merge(std::string_view merge, size_t rank, const TokenIds& ids) {
  const size_t space = merge.find(' ', 1);
  check(space != merge.npos, ErrorCode::kCorrupt,
        "tokenizer.ggml.merges[{}]: '{}' is not two tokens with a space between", rank, merge);
  const auto id = [&](std::string_view token) {
    const auto it = ids.find(token);
    check(it != ids.end(), ErrorCode::kCorrupt,
          "tokenizer.ggml.merges[{}]: '{}' is not in tokenizer.ggml.tokens", rank, token);
    return it->second;
  };
  return {id(merge.substr(0, space)), id(merge.substr(space + 1))};
}

int32_t checked_id(int64_t id, size_t vocabulary, std::string_view key) {
  check(id >= -1 && id < static_cast<int64_t>(vocabulary), ErrorCode::kCorrupt,
        "tokenizer.ggml.{}: {} is outside the vocabulary of {} tokens", key, id, vocabulary);
  return static_cast<int32_t>(id);
}

}  // namespace

TokenizerData tokenizer_from_gguf(const GgufVocabulary& gguf) {
  check(gguf.model == "gpt2", ErrorCode::kUnsupported,
        "tokenizer.ggml.model: '{}' is not supported, 'gpt2' (byte-level BPE) is", gguf.model);
  const PreTokenizerFamily& family = find_pre_tokenizer(gguf.pre);
  const size_t vocabulary = gguf.tokens.size();
  check(vocabulary > 0 && vocabulary <= kMaxVocabulary, ErrorCode::kCorrupt,
        "tokenizer.ggml.tokens: {} tokens, expected 1 to {}", vocabulary, kMaxVocabulary);
  check(gguf.token_type.empty() || gguf.token_type.size() == vocabulary, ErrorCode::kCorrupt,
        "tokenizer.ggml.token_type: {} entries for {} tokens", gguf.token_type.size(), vocabulary);
  check(gguf.merges.size() <= 4 * kMaxVocabulary, ErrorCode::kCorrupt,
        "tokenizer.ggml.merges: {} merges, at most {} are accepted", gguf.merges.size(),
        4 * kMaxVocabulary);

  TokenizerData data;
  TokenIds ids;
  ids.reserve(vocabulary);
  data.tokens.reserve(vocabulary);
  for (size_t i = 0; i < vocabulary; ++i) {
    const std::string& token = gguf.tokens[i];
    const int32_t type = gguf.token_type.empty() ? kNormal : gguf.token_type[i];
    const auto id = static_cast<int32_t>(i);
    check(ids.try_emplace(token, id).second, ErrorCode::kCorrupt,
          "tokenizer.ggml.tokens[{}]: '{}' stands there twice", i, token);
    if (type == kControl || type == kUserDefined) {
      data.tokens.push_back(token);
      if (!token.empty()) {
        data.added.push_back({.id = id, .text = token, .special = type == kControl});
      }
    } else {
      data.tokens.push_back(type == kUnused ? "" : bytes_from_alphabet(token).value_or(token));
    }
  }
  data.merges.reserve(gguf.merges.size());
  for (size_t rank = 0; rank < gguf.merges.size(); ++rank) {
    data.merges.push_back(parse_merge(gguf.merges[rank], rank, ids));
  }
  for (const std::string_view pattern : family.patterns) {
    data.pre_tokenizer.push_back({.pattern = std::string(pattern)});
  }
  data.normalizer = family.normalizer;
  data.ignore_merges = family.ignore_merges;
  data.bos_id = checked_id(gguf.bos_id, vocabulary, "bos_token_id");
  data.eos_id = checked_id(gguf.eos_id, vocabulary, "eos_token_id");
  if (gguf.add_bos.value_or(family.add_bos) && data.bos_id >= 0) {
    data.prefix.push_back(data.bos_id);
  }
  if (gguf.add_eos.value_or(false) && data.eos_id >= 0) {
    data.suffix.push_back(data.eos_id);
  }
  return data;
}

}  // namespace hopskip
