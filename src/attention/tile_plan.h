// A tile plan says which rows and keys vote together, in which order tiles are visited and what the
// votes compare with. Each kernel declares its plan and the reference replays it, so skip maps can
// be compared bit by bit.
#ifndef HOPSKIP_ATTENTION_TILE_PLAN_H_
#define HOPSKIP_ATTENTION_TILE_PLAN_H_

#include <cstdint>
#include <string>
#include <type_traits>

namespace hopskip {

// The order in which a row tile visits its spans of keys.
enum class VisitOrder : uint8_t {
  kFirstToLast,
  kLastToFirst,
  // The first span (it holds the attention sink), then the last (the diagonal), then inward from
  // it.
  kSinkDiagonalInward,
};

// What the running maximum starts from, besides −inf.
enum class MaxSeed : uint8_t {
  kNone,
  // The row's maximum over all its keys: scores are computed in a first pass, votes in a second.
  kExact,
  // The row's maximum over the keys at both ends of the range that it sees, where the largest
  // scores mostly are: the first kSeedKeys and the last, see is_seed_key. Splits that know nothing
  // of each other all start from it.
  kEnds,
};
inline constexpr int kSeedKeys = 64;

struct TilePlan {
  // Query tokens of one tile, counted from the first query token of the sequence in this step.
  int rows = 16;
  // Query heads of one KV group that vote together: 1, or the group size.
  int heads = 1;
  // Keys of one tile; tiles start at multiples of this position in the sequence.
  int keys = 16;
  // Keys scored before their tiles vote, a multiple of `keys`. A vote compares with the maximum
  // over every key scored so far; with span == keys that is the published rule.
  int span = 256;
  VisitOrder order = VisitOrder::kSinkDiagonalInward;
  MaxSeed seed = MaxSeed::kNone;
  // Keys of one split, a multiple of `span`; every split restarts from the seed and the splits are
  // merged at the end. 0: one pass over all keys.
  int split = 0;

  bool operator==(const TilePlan&) const = default;
};

// Whether a row that sees the keys [begin, end) has `key`, one of them, among its kEnds seeds. Both
// ends are counted from the edge of a tile of `keys` keys.
inline bool is_seed_key(int64_t key, int64_t begin, int64_t end, int keys) {
  return key < begin / keys * keys + kSeedKeys || key >= (end + keys - 1) / keys * keys - kSeedKeys;
}

// The span visited as number `visit` of spans [first, last].
template <typename Int>
constexpr Int visited_span(VisitOrder order, std::type_identity_t<Int> visit,
                           std::type_identity_t<Int> first, Int last) {
  switch (order) {
    case VisitOrder::kFirstToLast:
      return first + visit;
    case VisitOrder::kLastToFirst:
      return last - visit;
    case VisitOrder::kSinkDiagonalInward:
      return visit == 0 ? first : last - (visit - 1);
  }
  return first;
}

// E.g. "16x16/256 sink-diagonal-inward exact split 4096": rows × keys / span, order, seed, split;
// profiles store it, because factors are comparable only within one plan.
std::string to_string(const TilePlan& plan);
// The inverse of to_string. Throws InvalidArgument that shows the expected form.
TilePlan parse_tile_plan(const std::string& text);
// Throws InvalidArgument unless rows, keys > 0, heads is 1 or `group`, span is a multiple of keys
// and split one of span.
void validate(const TilePlan& plan, int group);

}  // namespace hopskip

#endif  // HOPSKIP_ATTENTION_TILE_PLAN_H_
