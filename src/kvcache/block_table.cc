#include "kvcache/block_table.h"

#include <utility>

namespace hopskip {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      pages_(std::exchange(other.pages_, {})),
      published_(std::exchange(other.published_, 0)),
      prefix_(std::exchange(other.prefix_, std::nullopt)) {}

bool BlockTable::reserve(int64_t tokens) {
  const int64_t wanted = (tokens + pool_->page_size() - 1) / pool_->page_size();
  const int64_t missing = wanted - std::ssize(pages_);
  if (missing > pool_->available()) {
    return false;
  }
  for (int64_t i = 0; i < missing; ++i) {
    pages_.push_back(*pool_->allocate());
  }
  return true;
}

void BlockTable::clear() {
  // Last page first: of a prefix left behind, the end is forgotten before the beginning.
  while (!pages_.empty()) {
    pool_->release(pages_.back());
    pages_.pop_back();
  }
  published_ = 0;
  prefix_.reset();
}

int64_t BlockTable::reuse_prefix(std::span<const int32_t> tokens, uint64_t salt) {
  const int page_size = pool_->page_size();
  prefix_ = PagePool::root(salt);
  while (std::ssize(tokens) >= (published_ + 1) * page_size) {
    const auto match = pool_->find(*prefix_, tokens.subspan(published_ * page_size, page_size));
    if (!match) {
      break;
    }
    pages_.push_back(match->page);
    prefix_ = match->prefix;
    ++published_;
  }
  return published_ * page_size;
}

void BlockTable::publish(std::span<const int32_t> tokens) {
  const int page_size = pool_->page_size();
  while (prefix_ && std::ssize(tokens) >= (published_ + 1) * page_size) {
    prefix_ = pool_->publish(*prefix_, tokens.subspan(published_ * page_size, page_size),
                             pages_[published_]);
    ++published_;
  }
}

}  // namespace hopskip
