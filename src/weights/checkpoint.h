// A trained model on disk: configuration, tokenizer data and named tensors, whatever the format.
#ifndef HOPSKIP_WEIGHTS_CHECKPOINT_H_
#define HOPSKIP_WEIGHTS_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/buffer.h"
#include "tensor/view.h"
#include "weights/model_config.h"
#include "weights/tokenizer_source.h"

namespace hopskip {

// Tensors are windows on mapped files, not copies, and live as long as the checkpoint; pages are
// read when they are touched. (Only a tensor that its file has put at an address unfit for its type
// is copied.) Names are Hugging Face's for every format, e.g.
// "model.layers.0.self_attn.q_proj.weight". A linear weight has shape [out, in].
struct Checkpoint {
  std::string path;    // what open_checkpoint() was given
  std::string format;  // "gguf" or "safetensors"
  ModelConfig config;
  TokenizerSource tokenizer;
  std::map<std::string, TensorView, std::less<>> tensors;  // in order of name
  std::vector<MappedFile> files;                           // what the views point into
  std::vector<Buffer> copies;                              // of tensors that were misaligned

  // nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const;
  // Throws NotFound naming the tensor and the checkpoint.
  const TensorView& get(std::string_view name) const;
  // The same, and Corrupt when the tensor has another shape.
  const TensorView& get(std::string_view name, std::initializer_list<int64_t> shape) const;
  std::vector<std::string> names() const;
  int64_t tensor_bytes() const;
  // A tensor has been copied elsewhere: the memory of its file pages is given back. It can still be
  // read.
  void release(const TensorView& view) const;
};

// `path`: a .gguf file (of a split model, any of its parts), or a folder in Hugging Face layout.
// Throws NotFound, Unsupported (naming what is accepted) or Corrupt.
Checkpoint open_checkpoint(const std::filesystem::path& path);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_CHECKPOINT_H_
