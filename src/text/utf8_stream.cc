#include "text/utf8_stream.h"

#include "text/utf8.h"

namespace hopskip {

std::string Utf8Stream::push(std::string_view bytes) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_;
    joined += bytes;
    bytes = joined;
    pending_.clear();
  }
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t valid = valid_utf8_prefix(bytes);
    out += bytes.substr(0, valid);
    bytes.remove_prefix(valid);
    if (bytes.empty()) {
      break;
    }
    const Utf8Step step = decode_utf8(bytes, 0);
    if (step.kind == Utf8Step::Kind::kTruncated) {
      pending_ = bytes;
      break;
    }
    out += kReplacementUtf8;
    bytes.remove_prefix(step.size);
  }
  return out;
}

std::string Utf8Stream::flush() {
  std::string out(pending_.empty() ? std::string_view() : kReplacementUtf8);
  pending_.clear();
  return out;
}

std::string to_valid_utf8(std::string_view bytes) {
  Utf8Stream stream;
  std::string out = stream.push(bytes);
  return out += stream.flush();
}

}  // namespace hopskip
