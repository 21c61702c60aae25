// Which page of the KV cache belongs to whom. Pure bookkeeping: pages are numbers here.
#ifndef HOPSKIP_KVCACHE_PAGE_POOL_H_
#define HOPSKIP_KVCACHE_PAGE_POOL_H_

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hopskip {

// Reference-counted pages. A full page can be published under the tokens it holds and the published
// page before it, and be found again by sequences that start with the same tokens. Published pages
// without a user stay findable until their memory is needed; the one unused for longest goes first.
//
// A published prefix is identified by its place in a trie of exact tokens, not by a hash alone: no
// collision can hand one request the keys and values of another.
class PagePool {
 public:
  // A published page's place in the trie; ids are never reused. A root stands for "no page before".
  struct Prefix {
    uint64_t id = 0;
    bool is_root = true;
    bool operator==(const Prefix&) const = default;
  };
  // Where sequences start whose K and V depend on `salt` besides the tokens.
  static Prefix root(uint64_t salt) { return {salt, true}; }

  PagePool(int64_t num_pages, int page_size);

  int page_size() const { return page_size_; }
  int64_t num_pages() const { return static_cast<int64_t>(pages_.size()); }
  // Pages that allocate() can still give.
  int64_t available() const { return std::ssize(free_) + std::ssize(unused_); }

  // A page with one user, or none when every page has one.
  std::optional<int32_t> allocate();
  // One user less.
  void release(int32_t page);

  struct Match {
    int32_t page;
    Prefix prefix;
  };
  // The published page that holds `tokens` [page_size] after `parent`, with one user more.
  std::optional<Match> find(Prefix parent, std::span<const int32_t> tokens);
  // Makes a page of the caller's findable. Where another page is published in that place already,
  // the caller's page stays private.
  Prefix publish(Prefix parent, std::span<const int32_t> tokens, int32_t page);

 private:
  struct Key {
    Prefix parent;
    std::vector<int32_t> tokens;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  using Published = std::unordered_map<Key, Match, KeyHash>;
  struct Page {
    int32_t users = 0;
    const Key* key = nullptr;                   // in published_, where it is published
    std::list<int32_t>::iterator unused_place;  // valid while published and without user
  };

  int page_size_;
  std::vector<Page> pages_;
  std::vector<int32_t> free_;  // neither used nor published
  std::list<int32_t> unused_;  // published, no user; longest unused first
  Published published_;
  uint64_t next_prefix_ = 0;
};

}  // namespace hopskip

#endif  // HOPSKIP_KVCACHE_PAGE_POOL_H_
