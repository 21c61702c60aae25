// tokenizer.json, and text to encode with it behind the last zero byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "hopskip/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.rfind('\0');
  const std::string_view json = input.substr(0, zero);
  const std::string_view text = zero == input.npos ? input : input.substr(zero + 1);
  try {
    const hopskip::Tokenizer tokenizer(hopskip::tokenizer_from_json(json));
    for (const bool parse_special : {true, false}) {
      const auto ids = tokenizer.encode(text, {.parse_special = parse_special});
      tokenizer.decode(ids, true);
    }
  } catch (const hopskip::Error& e) {
    if (e.code() == hopskip::ErrorCode::kInternal) {
      std::abort();
    }
  }
  return 0;
}
