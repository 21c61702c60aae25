// The tiny GGUF model with a tokenizer of single bytes: text in, text out, in no time.
#ifndef HOPSKIP_TESTS_SUPPORT_TINY_TEXT_MODEL_H_
#define HOPSKIP_TESTS_SUPPORT_TINY_TEXT_MODEL_H_

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/tiny_gguf.h"
#include "text/utf8.h"

namespace hopskip::test {

// A file for as long as the object lives. Token id = byte, 256 is the end token; context 128. The
// embedding has `padding` rows more than there are tokens.
class TinyTextModel {
 public:
  explicit TinyTextModel(int64_t padding = 0)
      : path_(std::filesystem::temp_directory_path() /
              ("hopskip_tiny_text." + std::to_string(getpid()) + "." + std::to_string(padding) +
               ".gguf")) {
    GgufWriter gguf;
    put_tiny_metadata(&gguf);
    gguf.text("tokenizer.ggml.model", "gpt2");
    gguf.text("tokenizer.ggml.pre", "gpt-2");
    gguf.texts("tokenizer.ggml.tokens", tokens());
    gguf.i32s("tokenizer.ggml.token_type", token_types());
    gguf.texts("tokenizer.ggml.merges", {});
    gguf.u32("tokenizer.ggml.eos_token_id", kEnd);
    gguf.text("tokenizer.chat_template",
              "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}a:");
    std::vector<StoredTensor> tensors = tiny_tensors();
    tensors[0] = random_tensor("token_embd.weight", DType::kF32, {kEnd + 1 + padding, 64}, 1, 0.1f);
    put_tensors(&gguf, std::move(tensors));
    const std::vector<std::byte> bytes = gguf.bytes();
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  ~TinyTextModel() { std::filesystem::remove(path_); }
  TinyTextModel(const TinyTextModel&) = delete;
  TinyTextModel& operator=(const TinyTextModel&) = delete;

  std::string path() const { return path_.string(); }

  static constexpr int kEnd = 256;

 private:
  // GPT-2's alphabet: a printable byte is its own Latin-1 character, the others follow from U+0100.
  static std::vector<std::string> tokens() {
    std::vector<std::string> tokens;
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                             (byte >= 0xAE && byte <= 0xFF);
      std::string token;
      append_utf8(token, printable ? static_cast<char32_t>(byte) : next++);
      tokens.push_back(token);
    }
    tokens.push_back("<|end|>");
    return tokens;
  }
  static std::vector<int32_t> token_types() {
    std::vector<int32_t> types(kEnd + 1, 1);
    types[kEnd] = 3;
    return types;
  }

  std::filesystem::path path_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_TINY_TEXT_MODEL_H_
