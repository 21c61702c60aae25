// What each rank of a world computes of a model.
#ifndef HOPSKIP_MODELS_SHARDING_H_
#define HOPSKIP_MODELS_SHARDING_H_

#include "kernels/backend.h"
#include "weights/model_config.h"

namespace hopskip {

// The model as one rank sees it: num_heads, num_kv_heads, intermediate_size and
// moe_intermediate_size are its share, everything else is the whole model's. Throws Unsupported,
// naming the numbers, where they cannot be shared evenly, and InvalidArgument for a rank outside
// its world.
ModelConfig shard_of(const ModelConfig& whole, World world);

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_SHARDING_H_
