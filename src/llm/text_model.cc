#include "llm/text_model.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace hopskip {
namespace {

TokenizerData tokenizer_data(const Checkpoint& checkpoint) {
  const TokenizerSource& source = checkpoint.tokenizer;
  switch (source.kind) {
    case TokenizerSource::Kind::kNone:
      break;
    case TokenizerSource::Kind::kHuggingFace:
      return tokenizer_from_json(source.tokenizer_json, source.tokenizer_config_json);
    case TokenizerSource::Kind::kGguf: {
      const std::vector<std::string> tokens(source.tokens.begin(), source.tokens.end());
      const std::vector<std::string> merges(source.merges.begin(), source.merges.end());
      return tokenizer_from_gguf({.model = source.model,
                                  .pre = source.pre,
                                  .tokens = tokens,
                                  .token_type = source.token_types,
                                  .merges = merges,
                                  .bos_id = source.bos_id.value_or(-1),
                                  .eos_id = source.eos_id.value_or(-1),
                                  .add_bos = source.add_bos,
                                  .add_eos = source.add_eos});
    }
  }
  fail(ErrorCode::kUnsupported, "{} brings no tokenizer", checkpoint.path);
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? std::string() : std::string(tokenizer.token_bytes(id));
}

}  // namespace

TextModel::TextModel(const Checkpoint& checkpoint)
    : tokenizer_(tokenizer_data(checkpoint)), stop_ids_(checkpoint.config.eos_ids) {
  const int32_t eos = tokenizer_.data().eos_id;
  if (eos >= 0 && std::find(stop_ids_.begin(), stop_ids_.end(), eos) == stop_ids_.end()) {
    stop_ids_.push_back(eos);
  }
  if (!checkpoint.tokenizer.chat_template.empty()) {
    template_.emplace(checkpoint.tokenizer.chat_template);
  }
}

std::string TextModel::render(const std::vector<ChatMessage>& messages) const {
  check(template_.has_value(), ErrorCode::kUnsupported,
        "this checkpoint has no chat template; give it plain text");
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  return template_->render({{"messages", std::move(list)},
                            {"add_generation_prompt", true},
                            {"bos_token", token_text(tokenizer_, tokenizer_.data().bos_id)},
                            {"eos_token", token_text(tokenizer_, tokenizer_.data().eos_id)}});
}

std::vector<int32_t> TextModel::encode(const Prompt& prompt) const {
  std::vector<int32_t> ids;
  if (const auto* messages = std::get_if<std::vector<ChatMessage>>(&prompt)) {
    check(!messages->empty(), ErrorCode::kInvalidArgument, "the conversation is empty");
    // The template writes bos and eos itself.
    ids = tokenizer_.encode(render(*messages), {.add_special = false});
  } else if (const auto* text = std::get_if<std::string>(&prompt)) {
    check(!text->empty(), ErrorCode::kInvalidArgument, "the prompt is empty");
    ids = tokenizer_.encode(*text);
  } else {
    ids = std::get<std::vector<int32_t>>(prompt);
  }
  check(!ids.empty(), ErrorCode::kInvalidArgument, "the prompt is empty");
  return ids;
}

}  // namespace hopskip
