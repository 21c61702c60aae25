// The source of a chat template, and the JSON of its context behind the last zero byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hopskip/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.rfind('\0');
  auto context = zero == input.npos
                     ? nlohmann::ordered_json()
                     : nlohmann::ordered_json::parse(input.substr(zero + 1), nullptr, false);
  if (!context.is_object()) {
    context = nlohmann::ordered_json::object();
  }
  try {
    const hopskip::TemplateLimits limits{.value_bytes = 1 << 16, .steps = 20'000};
    hopskip::ChatTemplate(std::string(input.substr(0, zero)), limits).render(context, 0);
  } catch (const hopskip::Error& e) {
    if (e.code() == hopskip::ErrorCode::kInternal) {
      std::abort();
    }
  }
  return 0;
}
