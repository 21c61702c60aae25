// GGUF's tensor names in Hugging Face's words.
#ifndef HOPSKIP_WEIGHTS_GGUF_NAMES_H_
#define HOPSKIP_WEIGHTS_GGUF_NAMES_H_

#include <string>
#include <string_view>

namespace hopskip {

// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight". A name that the table does not
// know is returned as it is. A tensor of all experts of a layer has a star where Hugging Face,
// which has one tensor for each, writes the expert: "blk.3.ffn_up_exps.weight" →
// "model.layers.3.mlp.experts.*.up_proj.weight".
std::string hf_name_of_gguf(std::string_view name);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_GGUF_NAMES_H_
