// GGUF's tensor names in Hugging Face's words.
#ifndef HOPSKIP_WEIGHTS_GGUF_NAMES_H_
#define HOPSKIP_WEIGHTS_GGUF_NAMES_H_

#include <string>
#include <string_view>

namespace hopskip {

// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight". A name that the table does not
// know is returned as it is.
std::string hf_name_of_gguf(std::string_view name);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_GGUF_NAMES_H_
