// A small GGUF model with every tensor a dense family needs; tests bend it and see what happens.
#ifndef HOPSKIP_TESTS_SUPPORT_TINY_GGUF_H_
#define HOPSKIP_TESTS_SUPPORT_TINY_GGUF_H_

#include <string>
#include <string_view>
#include <vector>

#include "support/checkpoint_writer.h"

namespace hopskip::test {

// hidden 64, 2 layers, 4 heads of 16, 2 key heads, ffn 64, vocab 32, context 128.
inline void put_tiny_metadata(GgufWriter* out, const std::string& architecture = "llama") {
  const std::string arch = architecture + ".";
  out->text("general.architecture", architecture);
  out->text("general.name", "tiny");
  out->u32(arch + "embedding_length", 64);
  out->u32(arch + "block_count", 2);
  out->u32(arch + "attention.head_count", 4);
  out->u32(arch + "attention.head_count_kv", 2);
  out->u32(arch + "feed_forward_length", 64);
  out->u32(arch + "context_length", 128);
  out->f32(arch + "attention.layer_norm_rms_epsilon", 1e-5f);
  out->f32(arch + "rope.freq_base", 500000.0f);
}

inline std::vector<StoredTensor> tiny_tensors(DType dtype = DType::kF32) {
  std::vector<StoredTensor> tensors;
  uint32_t seed = 1;
  const auto add = [&](const std::string& name, DType type, std::vector<int64_t> shape) {
    tensors.push_back(random_tensor(name, type, std::move(shape), seed++, 0.1f));
  };
  add("token_embd.weight", dtype, {32, 64});
  add("output_norm.weight", DType::kF32, {64});
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    add(layer + "attn_norm.weight", DType::kF32, {64});
    add(layer + "attn_q.weight", dtype, {64, 64});
    add(layer + "attn_k.weight", dtype, {32, 64});
    add(layer + "attn_v.weight", dtype, {32, 64});
    add(layer + "attn_output.weight", dtype, {64, 64});
    add(layer + "ffn_norm.weight", DType::kF32, {64});
    add(layer + "ffn_gate.weight", dtype, {64, 64});
    add(layer + "ffn_up.weight", dtype, {64, 64});
    add(layer + "ffn_down.weight", dtype, {64, 64});
  }
  return tensors;
}

inline void put_tensors(GgufWriter* out, std::vector<StoredTensor> tensors) {
  for (StoredTensor& tensor : tensors) {
    out->tensor(std::move(tensor));
  }
}

inline GgufWriter tiny_gguf(const std::string& architecture = "llama", DType dtype = DType::kF32) {
  GgufWriter out;
  put_tiny_metadata(&out, architecture);
  put_tensors(&out, tiny_tensors(dtype));
  return out;
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_TINY_GGUF_H_
