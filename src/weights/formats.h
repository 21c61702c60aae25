// The readers behind open_checkpoint(), also for bytes that are already in memory.
#ifndef HOPSKIP_WEIGHTS_FORMATS_H_
#define HOPSKIP_WEIGHTS_FORMATS_H_

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "weights/checkpoint.h"
#include "weights/gguf.h"

namespace hopskip {

// ---- GGUF (gguf_checkpoint.cc, gguf_config.cc) ----

// Opens a file, or all parts of a split model given any of them.
Checkpoint open_gguf(const std::filesystem::path& path);
// `parts`: all parts in order, parsed from bytes that outlive the checkpoint.
Checkpoint assemble_gguf(std::span<const GgufFile> parts, const std::string& path);
// `tensors` (by Hugging Face names) tell the vocabulary's size and which biases exist.
ModelConfig gguf_model_config(const GgufMetadata& metadata, const Checkpoint& tensors);
TokenizerSource gguf_tokenizer(const GgufMetadata& metadata);

// ---- Hugging Face folders (safetensors.cc, hf_folder.cc, hf_config.cc) ----

// Opens config.json, generation_config.json, the tokenizer's files and every safetensors shard.
Checkpoint open_hf_folder(const std::filesystem::path& path);
// Adds the tensors of one safetensors file. The bytes outlive the checkpoint. Throws Corrupt, or
// Unsupported for element types other than F32, F16, BF16 and I32.
void add_safetensors(std::span<const std::byte> bytes, const std::string& where,
                     Checkpoint* checkpoint);
// config.json as text; `generation` is generation_config.json or empty.
ModelConfig hf_model_config(std::string_view config, std::string_view generation,
                            const std::string& where);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_FORMATS_H_
