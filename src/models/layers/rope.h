// Rotary position embedding (RoFormer, arXiv 2104.09864) and the ways to stretch it.
#ifndef HOPSKIP_MODELS_LAYERS_ROPE_H_
#define HOPSKIP_MODELS_LAYERS_ROPE_H_

#include "kernels/backend.h"
#include "weights/model_config.h"

namespace hopskip {

// Inverse frequencies theta^(−2i/d), rescaled as config.rope_scaling says; formulas as in
// transformers' modeling_rope_utils:
//   linear  every frequency divided by the factor;
//   llama3  wavelengths above original / low_freq_factor divided by the factor, those below
//           original / high_freq_factor kept, a linear blend between;
//   yarn    (arXiv 2309.00071) a ramp over dimensions from kept to divided, and a magnitude for cos
//           and sin.
// GGUF's rope_freq_factors divide what comes out.
Rope make_rope(const ModelConfig& config);

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_LAYERS_ROPE_H_
