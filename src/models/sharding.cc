#include "models/sharding.h"

#include "base/check.h"

namespace hopskip {
namespace {

struct SharedRow {
  const char* name;
  int64_t ModelConfig::*field;
};

// The heads of K and V come before those that query them, whose number is a multiple of theirs.
constexpr SharedRow kShared[] = {
    {"key/value heads", &ModelConfig::num_kv_heads},
    {"attention heads", &ModelConfig::num_heads},
    {"inner units of the feed-forward block", &ModelConfig::intermediate_size},
    {"inner units of an expert", &ModelConfig::moe_intermediate_size},
};

}  // namespace

ModelConfig shard_of(const ModelConfig& whole, World world) {
  check(world.rank >= 0 && world.rank < world.size, ErrorCode::kInvalidArgument,
        "rank {} of a world of {}", world.rank, world.size);
  bool has_dense = false;  // else there is nothing of intermediate_size
  for (int64_t layer = 0; layer < whole.num_layers; ++layer) {
    has_dense |= !whole.has_experts(layer);
  }
  ModelConfig shard = whole;
  for (const auto& [name, field] : kShared) {
    if (field == &ModelConfig::intermediate_size && !has_dense) {
      continue;
    }
    check(whole.*field % world.size == 0, ErrorCode::kUnsupported,
          "{} {} do not spread evenly over {} ranks; take a number of ranks that divides {}",
          whole.*field, name, world.size, whole.*field);
    shard.*field = whole.*field / world.size;
  }
  return shard;
}

}  // namespace hopskip
