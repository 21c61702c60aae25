#include "kvcache/page_pool.h"

#include <cassert>

namespace hopskip {

size_t PagePool::KeyHash::operator()(const Key& key) const {
  uint64_t hash = key.parent.id * 2 + key.parent.is_root;
  for (int32_t token : key.tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

PagePool::PagePool(int64_t num_pages, int page_size) : page_size_(page_size), pages_(num_pages) {
  for (int64_t page = num_pages - 1; page >= 0; --page) {
    free_.push_back(static_cast<int32_t>(page));
  }
}

std::optional<int32_t> PagePool::allocate() {
  int32_t page = 0;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (!unused_.empty()) {
    page = unused_.front();
    unused_.pop_front();
    published_.erase(published_.find(*pages_[page].key));
    pages_[page].key = nullptr;
  } else {
    return std::nullopt;
  }
  assert(pages_[page].users == 0);
  pages_[page].users = 1;
  return page;
}

void PagePool::release(int32_t page) {
  Page& state = pages_[page];
  assert(state.users > 0);
  if (--state.users > 0) {
    return;
  }
  if (state.key != nullptr) {
    state.unused_place = unused_.insert(unused_.end(), page);
  } else {
    free_.push_back(page);
  }
}

std::optional<PagePool::Match> PagePool::find(Prefix parent, std::span<const int32_t> tokens) {
  const auto found = published_.find({parent, {tokens.begin(), tokens.end()}});
  if (found == published_.end()) {
    return std::nullopt;
  }
  Page& state = pages_[found->second.page];
  if (state.users++ == 0) {
    unused_.erase(state.unused_place);
  }
  return found->second;
}

PagePool::Prefix PagePool::publish(Prefix parent, std::span<const int32_t> tokens, int32_t page) {
  const Match match{page, Prefix{next_prefix_, false}};
  const auto [place, inserted] =
      published_.try_emplace({parent, {tokens.begin(), tokens.end()}}, match);
  if (inserted) {
    ++next_prefix_;
    pages_[page].key = &place->first;
  }
  return place->second.prefix;
}

}  // namespace hopskip
