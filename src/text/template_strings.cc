#include "text/template_strings.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace hopskip::jinja {
namespace {

bool is_in(std::string_view character, std::optional<std::string_view> characters) {
  return characters ? characters->find(character) != characters->npos
                    : is_python_space(decode_utf8(character, 0).code_point);
}

std::vector<std::string_view> split_spaces(std::string_view text, int64_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  text = from_right ? strip_right(text, {}) : strip_left(text, {});
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(from_right ? strip_left(text, {}) : strip_right(text, {}));
      if (parts.back().empty()) {
        parts.pop_back();
      } else {
        parts.back() = from_right ? text : text;
      }
      break;
    }
    size_t cut = from_right ? text.size() : 0;
    while (from_right ? cut > 0 : cut < text.size()) {
      const size_t at = from_right ? previous_utf8(text, cut) : cut;
      const Utf8Step step = decode_utf8(text, at);
      if (is_python_space(step.code_point)) {
        break;
      }
      cut = from_right ? at : cut + step.size;
    }
    parts.push_back(from_right ? text.substr(cut) : text.substr(0, cut));
    text = from_right ? strip_right(text.substr(0, cut), {}) : strip_left(text.substr(cut), {});
  }
  return parts;
}

}  // namespace

std::string_view strip_left(std::string_view text, std::optional<std::string_view> characters) {
  while (!text.empty()) {
    const size_t size = decode_utf8(text, 0).size;
    if (!is_in(text.substr(0, size), characters)) {
      break;
    }
    text.remove_prefix(size);
  }
  return text;
}

std::string_view strip_right(std::string_view text, std::optional<std::string_view> characters) {
  while (!text.empty()) {
    const size_t previous = previous_utf8(text, text.size());
    if (!is_in(text.substr(previous), characters)) {
      break;
    }
    text = text.substr(0, previous);
  }
  return text;
}

std::string strip_both(std::string_view text, std::optional<std::string_view> characters) {
  return std::string(strip_right(strip_left(text, characters), characters));
}

std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator, int64_t limit,
                                    bool from_right) {
  if (!separator) {
    std::vector<std::string_view> parts = split_spaces(text, limit, from_right);
    if (from_right) {
      std::reverse(parts.begin(), parts.end());
    }
    return parts;
  }
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == text.npos) {
      break;
    }
    const size_t behind = at + separator->size();
    parts.push_back(from_right ? text.substr(behind) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(behind);
  }
  parts.push_back(text);
  if (from_right) {
    std::reverse(parts.begin(), parts.end());
  }
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  const auto is_line_end = [](char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    const size_t line_end = i;
    i += step.size;
    if (is_line_end(step.code_point)) {
      i += step.code_point == '\r' && i < text.size() && text[i] == '\n';
      lines.push_back(text.substr(begin, line_end - begin));
      begin = i;
    }
  }
  if (begin < text.size()) {
    lines.push_back(text.substr(begin));
  }
  return lines;
}

std::string capitalize(std::string_view text) {
  if (text.empty()) {
    return {};
  }
  const size_t size = decode_utf8(text, 0).size;
  // The whole is lowered at once: a final sigma depends on what stands before it.
  const std::string lower = to_lower(text);
  const size_t lower_size = to_lower(text.substr(0, size)).size();
  return to_title(text.substr(0, size)) + lower.substr(lower_size);
}

std::string title(std::string_view text) {
  std::string out;
  size_t word = 0;  // where the current run of cased characters begins
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    if (!is_cased(step.code_point)) {
      out += capitalize(text.substr(word, i - word));
      out += text.substr(i, step.size);
      word = i + step.size;
    }
    i += step.size;
  }
  return out += capitalize(text.substr(word));
}

std::string word_title(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    const std::string_view character = text.substr(i, step.size);
    out += in_word ? to_lower(character) : to_upper(character);
    in_word = !is_python_space(step.code_point) &&
              std::string_view("-([{<").find(character) == std::string_view::npos;
    i += step.size;
  }
  return out;
}

std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    int64_t limit) {
  std::string out;
  size_t i = 0;
  for (int64_t done = 0; limit < 0 || done < limit; ++done) {
    size_t at = text.find(old, i);
    if (old.empty()) {  // Python puts `with` before every character and behind the last
      at = done == 0 ? 0 : i < text.size() ? i + decode_utf8(text, i).size : text.npos;
    }
    if (at == text.npos) {
      break;
    }
    out.append(text.substr(i, at - i)).append(with);
    i = at + old.size();
  }
  return out.append(text.substr(std::min(i, text.size())));
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

}  // namespace hopskip::jinja
