#include "text/chat_template.h"

#include "base/check.h"
#include "text/template_interpreter.h"
#include "text/template_machine.h"
#include "text/template_parser.h"

namespace hopskip {

struct ChatTemplate::Impl {
  TemplateLimits limits;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::string source, TemplateLimits limits) {
  check(source.size() <= limits.source_bytes, ErrorCode::kCorrupt,
        "chat template: {} bytes, at most {} are accepted", source.size(), limits.source_bytes);
  impl_ = std::make_unique<const Impl>(Impl{limits, jinja::parse_template(source, limits.depth)});
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const nlohmann::ordered_json& context, std::time_t now) const {
  check(context.is_object(), ErrorCode::kInvalidArgument,
        "chat template: the context must be a JSON object, it is a {}", context.type_name());
  jinja::Machine machine(impl_->limits, now);
  return run_template(machine, impl_->block, from_json(machine, context));
}

}  // namespace hopskip
