#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace hopskip {
namespace {

size_t skip_spaces_left(std::string_view text, size_t position, size_t floor) {
  while (position > floor) {
    const size_t previous = previous_utf8(text, position);
    if (!is_white_space(decode_utf8(text, previous).code_point)) {
      break;
    }
    position = previous;
  }
  return std::max(position, floor);
}

size_t skip_spaces_right(std::string_view text, size_t position) {
  while (position < text.size()) {
    const Utf8Step step = decode_utf8(text, position);
    if (!is_white_space(step.code_point)) {
      break;
    }
    position += step.size;
  }
  return position;
}

bool is_single_word(std::string_view text, size_t begin, size_t end) {
  return (begin == 0 ||
          !is_word_character(decode_utf8(text, previous_utf8(text, begin)).code_point)) &&
         (end == text.size() || !is_word_character(decode_utf8(text, end).code_point));
}

}  // namespace

AddedTokens::AddedTokens(const TokenizerData& data, bool normalized) : nodes_(1) {
  for (const AddedToken& token : data.added) {
    if (token.normalized != normalized) {
      continue;
    }
    AddedToken wanted = token;
    if (normalized && valid_utf8_prefix(token.text) == token.text.size()) {
      wanted.text = normalize(token.text, data.normalizer);
    }
    size_t node = 0;
    for (const char c : wanted.text) {
      const auto [it, is_new] = nodes_[node].next.try_emplace(c, nodes_.size());
      node = static_cast<size_t>(it->second);
      if (is_new) {
        nodes_.emplace_back();
      }
    }
    if (node != 0 && nodes_[node].token < 0) {
      nodes_[node].token = static_cast<int32_t>(tokens_.size());
      may_begin_[static_cast<uint8_t>(wanted.text[0])] = true;
      tokens_.push_back(std::move(wanted));
    }
  }
}

const AddedToken* AddedTokens::longest_at(std::string_view text, size_t position) const {
  const AddedToken* longest = nullptr;
  size_t node = 0;
  for (; position < text.size(); ++position) {
    const auto it = nodes_[node].next.find(text[position]);
    if (it == nodes_[node].next.end()) {
      break;
    }
    node = static_cast<size_t>(it->second);
    if (nodes_[node].token >= 0) {
      longest = &tokens_[static_cast<size_t>(nodes_[node].token)];
    }
  }
  return longest;
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text,
                                                   bool parse_special) const {
  std::vector<Piece> pieces;
  size_t done = 0;
  const auto add_text_until = [&](size_t end) {
    if (done < end) {
      pieces.push_back({text.substr(done, end - done), -1});
    }
  };
  size_t position = 0;
  while (!tokens_.empty() && position < text.size()) {
    if (!may_begin_[static_cast<uint8_t>(text[position])]) {
      ++position;
      continue;
    }
    const AddedToken* token = longest_at(text, position);
    if (token == nullptr) {
      ++position;
      continue;
    }
    size_t begin = position;
    size_t end = position + token->text.size();
    position = end;
    if ((token->special && !parse_special) ||
        (token->single_word && !is_single_word(text, begin, end))) {
      continue;
    }
    if (token->lstrip) {
      begin = skip_spaces_left(text, begin, done);
    }
    if (token->rstrip) {
      end = skip_spaces_right(text, end);
    }
    add_text_until(begin);
    pieces.push_back({text.substr(begin, end - begin), token->id});
    done = end;
    position = std::max(position, end);
  }
  add_text_until(text.size());
  return pieces;
}

}  // namespace hopskip
