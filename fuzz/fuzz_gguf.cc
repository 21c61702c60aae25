// Any bytes as a GGUF file: a Checkpoint whose tensors can be read, or hopskip::Error.
#include <cstdlib>
#include <vector>

#include "hopskip/error.h"
#include "weights/formats.h"

namespace {

void touch(const hopskip::TensorView& view) {
  const auto* bytes = static_cast<const volatile unsigned char*>(view.data);
  (void)bytes[0];
  (void)bytes[view.bytes() - 1];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A vector of exactly `size` bytes: a read beyond the end is then visible, and the start is
  // aligned, as a mapped file's is.
  const std::vector<uint8_t> bytes(data, data + size);
  try {
    const hopskip::GgufFile parts[] = {
        hopskip::parse_gguf(std::as_bytes(std::span(bytes)), "file")};
    for (const hopskip::GgufTensor& tensor : parts[0].tensors) {
      touch(tensor.view);
    }
    hopskip::assemble_gguf(parts, "file");
  } catch (const hopskip::Error& error) {
    if (error.code() == hopskip::ErrorCode::kInternal) {
      std::abort();
    }
  }
  return 0;
}
