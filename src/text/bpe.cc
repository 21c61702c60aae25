#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15u;  // 2^64 / φ: Fibonacci hashing

// Longer words are cut: a symbol and its candidate take 20 bytes for each byte of the word.
constexpr size_t kMaxWordBytes = size_t{1} << 24;

}  // namespace

Bpe::Bpe(const TokenizerData& data) : data_(data), is_added_(data.tokens.size()) {
  token_of_.reserve(data.tokens.size());
  for (const AddedToken& token : data.added) {
    is_added_[static_cast<size_t>(token.id)] = true;
  }
  for (const bool added : {false, true}) {
    for (size_t id = 0; id < data.tokens.size(); ++id) {
      if (!data.tokens[id].empty() && is_added_[id] == added) {
        token_of_.try_emplace(data.tokens[id], static_cast<int32_t>(id));
      }
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_token_[static_cast<size_t>(byte)] = find({&c, 1}).value_or(-1);
  }
  merges_.resize(std::bit_ceil(data.merges.size() * 3 / 2 + 1));
  std::string product;
  for (size_t rank = 0; rank < data.merges.size(); ++rank) {
    const auto [left, right] = data.merges[rank];
    product = data.tokens[static_cast<size_t>(left)];
    product += data.tokens[static_cast<size_t>(right)];
    const auto id = find(product);
    check(id.has_value(), ErrorCode::kCorrupt,
          "merges: the product of merge {} (tokens {} and {}) is not in the vocabulary", rank, left,
          right);
    insert_merge({static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right),
                  static_cast<int32_t>(rank), *id});
  }
}

std::optional<int32_t> Bpe::find(std::string_view bytes) const {
  const auto it = token_of_.find(bytes);
  return it == token_of_.end() ? std::nullopt : std::optional(it->second);
}

void Bpe::insert_merge(const Merge& merge) {
  const size_t mask = merges_.size() - 1;
  size_t slot = (merge.pair * kGoldenRatio >> 32) & mask;
  while (merges_[slot].pair != kNoPair) {
    check(merges_[slot].pair != merge.pair, ErrorCode::kCorrupt, "merges: {} and {} are the same",
          merges_[slot].rank, merge.rank);
    slot = (slot + 1) & mask;
  }
  merges_[slot] = merge;
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t pair = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  const size_t mask = merges_.size() - 1;
  size_t slot = (pair * kGoldenRatio >> 32) & mask;
  while (merges_[slot].pair != kNoPair) {
    if (merges_[slot].pair == pair) {
      return &merges_[slot];
    }
    slot = (slot + 1) & mask;
  }
  return nullptr;
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  const uint32_t hash = static_cast<uint32_t>(std::hash<std::string_view>{}(word));
  Scratch::Entry& entry = scratch.cache[hash % Scratch::kCacheEntries];
  if (entry.hash == hash && entry.size == word.size() &&
      std::memcmp(entry.word.data(), word.data(), word.size()) == 0) {
    out.insert(out.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
    return;
  }
  const size_t begin = out.size();
  const auto whole = data_.ignore_merges ? find(word) : std::nullopt;
  if (whole && !is_added_[static_cast<size_t>(*whole)]) {
    out.push_back(*whole);
  } else {
    while (word.size() > kMaxWordBytes) {
      merge_word(word.substr(0, kMaxWordBytes), scratch, out);
      word.remove_prefix(kMaxWordBytes);
    }
    merge_word(word, scratch, out);
  }
  const size_t count = out.size() - begin;
  if (word.size() <= entry.word.size() && count <= entry.ids.size()) {
    entry.hash = hash;
    entry.size = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(count);
    std::copy(word.begin(), word.end(), entry.word.begin());
    std::copy(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), entry.ids.begin());
  }
}

// The pair with the lowest rank, the leftmost of several, comes first.
void Bpe::push_candidate(int32_t position, Scratch& scratch) const {
  const auto& symbols = scratch.symbols;
  const int32_t next = symbols[static_cast<size_t>(position)].next;
  if (next < 0) {
    return;
  }
  const Merge* merge =
      find_merge(symbols[static_cast<size_t>(position)].id, symbols[static_cast<size_t>(next)].id);
  if (merge == nullptr) {
    return;
  }
  scratch.heap.push_back({merge->rank, position});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), [](const auto& a, const auto& b) {
    return std::pair(a.rank, a.position) > std::pair(b.rank, b.position);
  });
}

void Bpe::merge_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  bool after_unk = false;
  for (const char c : word) {
    const int32_t id = byte_token_[static_cast<uint8_t>(c)];
    if (id >= 0 || (data_.unk_id >= 0 && !(after_unk && data_.fuse_unk))) {
      const auto position = static_cast<int32_t>(symbols.size());
      symbols.push_back({id >= 0 ? id : data_.unk_id, position - 1, position + 1});
    }
    after_unk = id < 0;
  }
  if (symbols.empty()) {
    return;
  }
  symbols.back().next = -1;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    push_candidate(static_cast<int32_t>(i), scratch);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), [](const auto& a, const auto& b) {
      return std::pair(a.rank, a.position) > std::pair(b.rank, b.position);
    });
    const Scratch::Candidate top = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbols[static_cast<size_t>(top.position)];
    if (left.id < 0 || left.next < 0) {
      continue;
    }
    Scratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    const Merge* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->rank != top.rank) {
      continue;  // one of the two has changed since
    }
    left.id = merge->product;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) {
      symbols[static_cast<size_t>(left.next)].previous = top.position;
      push_candidate(top.position, scratch);
    }
    if (left.previous >= 0) {
      push_candidate(left.previous, scratch);
    }
  }
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    out.push_back(symbols[static_cast<size_t>(i)].id);
  }
}

}  // namespace hopskip
