// Text to token ids and back: byte-level BPE.
#ifndef HOPSKIP_TEXT_TOKENIZER_H_
#define HOPSKIP_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_data.h"

namespace hopskip {

struct EncodeOptions {
  bool add_special = true;    // put the model's prefix and suffix (bos, eos) around the text
  bool parse_special = true;  // "<|im_end|>" in the text becomes the control token, not letters
};

// Gives the ids that Hugging Face tokenizers gives for the same data. Text that is not UTF-8 is
// taken as it is: each run of invalid bytes is a word of its own and goes through the merges as
// bytes. So decode(encode(text)) returns every byte, unless the tokenizer normalizes or has no
// token for a byte (SmolLM2 lacks 21 of the 256, among them the 13 that UTF-8 never uses).
// All functions may be called from several threads at once.
class Tokenizer {
 public:
  // Throws Corrupt where the data cannot work: an id outside the vocabulary, a merge without a
  // product, a pattern that does not compile.
  explicit Tokenizer(TokenizerData data);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  // The bytes of the tokens, joined. They need not be UTF-8 (see Utf8Stream). Throws
  // InvalidArgument for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The bytes of one token; valid as long as the tokenizer.
  std::string_view token_bytes(int32_t id) const;

  // True for control tokens such as <|im_end|>.
  bool is_special(int32_t id) const;

  int32_t vocab_size() const;

  // The id of the token with exactly these bytes; added tokens go first.
  std::optional<int32_t> find(std::string_view token) const;

  const TokenizerData& data() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_TOKENIZER_H_
