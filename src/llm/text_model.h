// What a checkpoint says about text: its tokenizer, its chat template, the tokens that end an
// answer.
#ifndef HOPSKIP_LLM_TEXT_MODEL_H_
#define HOPSKIP_LLM_TEXT_MODEL_H_

#include <optional>
#include <string>
#include <vector>

#include "hopskip/llm.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "weights/checkpoint.h"

namespace hopskip {

// All member functions may be called from several threads at once.
class TextModel {
 public:
  // Throws Unsupported for a checkpoint without tokenizer. The checkpoint is not needed afterwards.
  explicit TextModel(const Checkpoint& checkpoint);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  bool has_chat_template() const { return template_.has_value(); }
  const std::vector<int32_t>& stop_ids() const { return stop_ids_; }

  // Throws InvalidArgument for an empty prompt, Unsupported for a conversation without a template.
  std::vector<int32_t> encode(const Prompt& prompt) const;
  std::string render(const std::vector<ChatMessage>& messages) const;

 private:
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> template_;
  std::vector<int32_t> stop_ids_;
};

}  // namespace hopskip

#endif  // HOPSKIP_LLM_TEXT_MODEL_H_
