// Finds added tokens in text before it is cut into words.
#ifndef HOPSKIP_TEXT_ADDED_TOKENS_H_
#define HOPSKIP_TEXT_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "text/tokenizer_data.h"

namespace hopskip {

class AddedTokens {
 public:
  struct Piece {
    std::string_view text;
    int32_t id;  // -1: ordinary text
  };

  // Looks for those of data.added that are matched in normalized (or else in raw) text.
  AddedTokens(const TokenizerData& data, bool normalized);

  // `text` in pieces: at each place the longest token, the leftmost first. Without parse_special,
  // special tokens are ordinary text.
  std::vector<Piece> split(std::string_view text, bool parse_special) const;

 private:
  struct Node {
    std::map<char, int32_t> next;
    int32_t token = -1;  // index into tokens_
  };

  const AddedToken* longest_at(std::string_view text, size_t position) const;

  std::vector<AddedToken> tokens_;     // .text as it is looked for
  std::vector<Node> nodes_;            // trie of tokens_, root first
  std::array<bool, 256> may_begin_{};  // bytes with which a token begins
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_ADDED_TOKENS_H_
