#include "weights/gguf_names.h"

#include <algorithm>

namespace hopskip {
namespace {

struct Row {
  std::string_view gguf;
  std::string_view hf;
};

// Without ".weight" or ".bias". Source: gguf-py's tensor_mapping.py of the ggml project.
constexpr Row kModel[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

constexpr Row kLayer[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_exps", "mlp.experts.*.gate_proj"},
    {"ffn_up_exps", "mlp.experts.*.up_proj"},
    {"ffn_down_exps", "mlp.experts.*.down_proj"},
};

template <size_t N>
std::string_view translate(const Row (&table)[N], std::string_view stem) {
  const auto* row =
      std::find_if(table, table + N, [&](const Row& candidate) { return candidate.gguf == stem; });
  return row == table + N ? std::string_view() : row->hf;
}

bool is_number(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string hf_name_of_gguf(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) {
    return std::string(name);
  }
  const std::string_view suffix = name.substr(dot);  // ".weight"
  std::string_view stem = name.substr(0, dot);
  constexpr std::string_view kBlock = "blk.";
  if (!stem.starts_with(kBlock)) {
    const std::string_view hf = translate(kModel, stem);
    return hf.empty() ? std::string(name) : std::string(hf).append(suffix);
  }
  stem.remove_prefix(kBlock.size());
  const size_t end = stem.find('.');
  const std::string_view layer = stem.substr(0, end);
  if (end == std::string_view::npos || !is_number(layer)) {
    return std::string(name);
  }
  const std::string_view hf = translate(kLayer, stem.substr(end + 1));
  if (hf.empty()) {
    return std::string(name);
  }
  return std::string("model.layers.").append(layer).append(".").append(hf).append(suffix);
}

}  // namespace hopskip
