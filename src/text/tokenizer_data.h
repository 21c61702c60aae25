// What a byte-level BPE tokenizer is made of, and the two places it comes from.
#ifndef HOPSKIP_TEXT_TOKENIZER_DATA_H_
#define HOPSKIP_TEXT_TOKENIZER_DATA_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hopskip {

// What happens to the matches of a pattern, with the names of the tokenizer.json format: on
// "a-b" with the pattern "-", kRemoved gives a b, kIsolated a - b, kMergedWithPrevious a- b,
// kMergedWithNext a -b; kContiguous is kIsolated with neighbouring matches joined.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// One step of the pre-tokenizer. Each step refines the pieces that the step before it made.
struct PreTokenizerStep {
  enum class Kind { kSplit, kPrefixSpace };  // kPrefixSpace puts a space before a piece without one
  Kind kind = Kind::kSplit;
  std::string pattern = {};  // a regular expression over UTF-8 text, for kSplit
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // the text between the matches plays the part of the matches
};

enum class Normalizer { kNone, kNfc, kNfd, kNfkc, kNfkd };

// A token that is cut out of the text before anything else looks at it.
struct AddedToken {
  int32_t id = 0;
  std::string text = {};
  bool special = false;      // control token: not parsed from text on request, hidden by decode
  bool lstrip = false;       // swallows white space to the left
  bool rstrip = false;       // swallows white space to the right
  bool single_word = false;  // matches only between non-word characters
  bool normalized = false;   // is looked for in the normalized text
};

struct TokenizerData {
  std::vector<std::string> tokens;  // [vocab] the bytes of each token, decoded; "" for an unused id
  std::vector<std::pair<int32_t, int32_t>> merges;  // by rank: left id, right id
  std::vector<AddedToken> added;
  std::vector<PreTokenizerStep> pre_tokenizer;
  Normalizer normalizer = Normalizer::kNone;
  bool ignore_merges = false;   // a word that is a token is that token, whatever the merges say
  int32_t unk_id = -1;          // stands for a byte without a token; -1: such a byte is dropped
  bool fuse_unk = false;        // one unk for several such bytes in a row
  std::vector<int32_t> prefix;  // put before a text that is encoded with add_special
  std::vector<int32_t> suffix;  // put behind it
  int32_t bos_id = -1;          // -1: the model has none
  int32_t eos_id = -1;
};

// Reads a tokenizer.json (Hugging Face "tokenizers" format, BPE with ByteLevel) and, where there is
// one, its tokenizer_config.json (names of bos and eos, chat template). Throws Corrupt naming the
// key, Unsupported naming the component and the known ones.
TokenizerData tokenizer_from_json(std::string_view tokenizer_json,
                                  std::string_view tokenizer_config_json = {});

// The keys tokenizer.ggml.* of a GGUF file.
struct GgufVocabulary {
  std::string model;                    // "gpt2" is byte-level BPE
  std::string pre;                      // names the pre-tokenizer
  std::span<const std::string> tokens;  // in GPT-2's byte alphabet
  std::span<const int32_t> token_type;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused
  std::span<const std::string> merges;  // "left right"
  int64_t bos_id = -1;
  int64_t eos_id = -1;
  std::optional<bool> add_bos;  // absent: what the pre-tokenizer's family does
  std::optional<bool> add_eos;
};

// Throws Corrupt naming the key, Unsupported naming the model or pre-tokenizer and the known ones.
TokenizerData tokenizer_from_gguf(const GgufVocabulary& gguf);

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_TOKENIZER_DATA_H_
