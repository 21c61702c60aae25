// The scales of an FP8 KV cache that a checkpoint was calibrated for.
#ifndef HOPSKIP_MODELS_LAYERS_KV_SCALES_H_
#define HOPSKIP_MODELS_LAYERS_KV_SCALES_H_

#include <vector>

#include "kernels/backend.h"
#include "weights/checkpoint.h"

namespace hopskip {

// Of each layer, under the names that vLLM reads: self_attn.k_proj.k_scale and v_proj.v_scale
// (ModelOpt), self_attn.k_scale and v_scale (compressed-tensors), or self_attn.kv_scale for both.
// Where only one of the two is there it holds for both, where none is both are 1. Throws
// Unsupported for a scale with more than one value (per head), Corrupt for one that is not positive
// and finite.
std::vector<KvScale> kv_scales(const Checkpoint& checkpoint);

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_KV_SCALES_H_
