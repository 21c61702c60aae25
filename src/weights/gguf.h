// The GGUF container (versions 2 and 3, little-endian): key-value pairs and tensors, nothing about
// models. Source of the layout: the GGUF specification of the ggml project (docs/gguf.md).
#ifndef HOPSKIP_WEIGHTS_GGUF_H_
#define HOPSKIP_WEIGHTS_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/view.h"

namespace hopskip {

// An array of one scalar type; integers and booleans are widened, so that one reader serves all.
using GgufArray =
    std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string_view>>;
using GgufValue = std::variant<int64_t, double, bool, std::string_view, GgufArray>;

// Key → value. A key that is absent gives nullopt or nullptr; one of another type throws Corrupt,
// naming key and file. Integers do not pass for reals or booleans, nor the other way round.
class GgufMetadata {
 public:
  std::string where;  // the file, for messages
  std::map<std::string, GgufValue, std::less<>> values;

  bool has(std::string_view key) const { return values.find(key) != values.end(); }
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> real(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> text(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<std::string_view>* texts(std::string_view key) const;
};

struct GgufTensor {
  std::string_view name;  // GGUF's own name
  TensorView view;        // shape outermost first
};

// Views point into the bytes that were parsed.
struct GgufFile {
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // in the order of the file
};

// Reads one file, or one part of a split one. Throws Corrupt (the caps stand at the top of gguf.cc)
// or Unsupported: another version, big-endian, an array of arrays, or a tensor of a type
// that dtype.h does not have. Such a tensor is refused here rather than on use: every tensor of the
// supported models is used, and its extent would be unknown. `where` names the file in messages.
GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& where);

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_GGUF_H_
