// The pages of one sequence.
#ifndef HOPSKIP_KVCACHE_BLOCK_TABLE_H_
#define HOPSKIP_KVCACHE_BLOCK_TABLE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kvcache/page_pool.h"

namespace hopskip {

// Page p holds tokens [p · page_size, (p + 1) · page_size). The pool must outlive the table.
class BlockTable {
 public:
  explicit BlockTable(PagePool& pool) : pool_(&pool) {}
  ~BlockTable() { clear(); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&&) = delete;

  std::span<const int32_t> pages() const { return pages_; }
  int64_t capacity() const { return std::ssize(pages_) * pool_->page_size(); }

  // Makes room for `tokens` in all. False, and nothing has changed, when the pool cannot.
  bool reserve(int64_t tokens);
  // Gives every page back; starts anew.
  void clear();

  // For a table without pages: takes the published pages that hold a prefix of `tokens` written
  // under `salt`, and returns how many tokens they hold. Only after this does publish() publish.
  int64_t reuse_prefix(std::span<const int32_t> tokens, uint64_t salt);
  // Publishes the full pages of `tokens`, all that the table's pages hold by now.
  void publish(std::span<const int32_t> tokens);

 private:
  PagePool* pool_;
  std::vector<int32_t> pages_;
  int64_t published_ = 0;  // pages, from the first, whose place in the trie is known
  std::optional<PagePool::Prefix> prefix_;  // of the last of them; none: the table does not share
};

}  // namespace hopskip

#endif  // HOPSKIP_KVCACHE_BLOCK_TABLE_H_
