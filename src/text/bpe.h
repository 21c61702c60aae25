// Byte-pair encoding of one word.
#ifndef HOPSKIP_TEXT_BPE_H_
#define HOPSKIP_TEXT_BPE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_data.h"

namespace hopskip {

class Bpe {
 public:
  // Where one thread keeps its buffers and the words it has met: bounded, the newer word wins.
  class Scratch {
   public:
    Scratch() : cache(kCacheEntries) {}

   private:
    friend class Bpe;
    static constexpr size_t kCacheEntries = size_t{1} << 14;  // × 64 bytes = 1 MiB
    struct Entry {
      uint32_t hash = 0;
      uint8_t size = 0;  // bytes; 0: empty
      uint8_t count = 0;
      std::array<char, 30> word{};
      std::array<int32_t, 7> ids{};
    };
    struct Symbol {
      int32_t id;  // -1: merged into its left neighbour
      int32_t previous, next;
    };
    struct Candidate {
      int32_t rank;
      int32_t position;  // of the left symbol
    };
    std::vector<Entry> cache;
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // `data` outlives this object. Throws Corrupt for a merge whose product is not a token.
  explicit Bpe(const TokenizerData& data);

  // Appends the tokens of `word`.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

  // The token with these bytes; of several, one that is not added goes first.
  std::optional<int32_t> find(std::string_view bytes) const;

 private:
  struct Merge {
    uint64_t pair = kNoPair;  // left id << 32 | right id
    int32_t rank = 0;
    int32_t product = 0;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  const Merge* find_merge(int32_t left, int32_t right) const;
  void insert_merge(const Merge& merge);
  void merge_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;
  void push_candidate(int32_t position, Scratch& scratch) const;

  const TokenizerData& data_;
  std::unordered_map<std::string_view, int32_t> token_of_;
  std::vector<bool> is_added_;           // [vocab]
  std::array<int32_t, 256> byte_token_;  // -1: the byte has none
  std::vector<Merge> merges_;            // open addressing, size a power of two
};

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_BPE_H_
