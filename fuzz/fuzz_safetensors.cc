// The first byte chooses: 'c' reads the rest as config.json and, after a line of "---", as
// generation_config.json; anything else reads the rest as a safetensors file.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "hopskip/error.h"
#include "weights/formats.h"

namespace {

void read_config(std::string_view text) {
  constexpr std::string_view kDivider = "\n---\n";
  const size_t divider = text.find(kDivider);
  const bool two = divider != std::string_view::npos;
  const hopskip::ModelConfig config = hopskip::hf_model_config(
      text.substr(0, divider), two ? text.substr(divider + kDivider.size()) : "", "config.json");
  hopskip::validate(config, "config.json");
}

void read_tensors(std::span<const std::byte> bytes) {
  hopskip::Checkpoint checkpoint;
  hopskip::add_safetensors(bytes, "file", &checkpoint);
  for (const auto& [name, view] : checkpoint.tensors) {
    const auto* data = static_cast<const volatile unsigned char*>(view.data);
    (void)data[0];
    (void)data[view.bytes() - 1];
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::vector<char> bytes(data + 1, data + size);
  try {
    if (data[0] == 'c') {
      read_config({bytes.data(), bytes.size()});
    } else {
      read_tensors(std::as_bytes(std::span(bytes)));
    }
  } catch (const hopskip::Error& error) {
    if (error.code() == hopskip::ErrorCode::kInternal) {
      std::abort();
    }
  }
  return 0;
}
