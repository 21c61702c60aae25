#include "text/template_lexer.h"

#include <algorithm>

#include "base/check.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace hopskip::jinja {
namespace {

constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "*",
                                           "/",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Line ends become "\n", and the last one goes.
std::string normalized(std::string_view source) {
  const std::string valid = to_valid_utf8(source);
  std::string out;
  for (size_t i = 0; i < valid.size(); ++i) {
    if (valid[i] == '\r') {
      out.push_back('\n');
      i += i + 1 < valid.size() && valid[i + 1] == '\n';
    } else {
      out.push_back(valid[i]);
    }
  }
  if (out.ends_with('\n')) {
    out.pop_back();
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) {
      text_and_tag();
    }
    add(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void bad(std::string_view what) const {
    fail(ErrorCode::kCorrupt, "chat template, line {}: {}", line_, what);
  }

  std::string_view rest() const { return std::string_view(source_).substr(position_); }

  void add(Token::Kind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }

  void advance(size_t bytes) {
    const auto begin = source_.begin() + static_cast<std::ptrdiff_t>(position_);
    line_ += static_cast<int>(std::count(begin, begin + static_cast<std::ptrdiff_t>(bytes), '\n'));
    position_ += bytes;
    if (bytes > 0) {
      at_line_start_ = source_[position_ - 1] == '\n';
    }
  }

  void skip_spaces() {
    while (position_ < source_.size()) {
      const Utf8Step step = decode_utf8(source_, position_);
      if (!is_python_space(step.code_point)) {
        break;
      }
      advance(step.size);
    }
  }

  // What stands behind the end of a tag: "-" takes all white space, else a block takes a newline.
  void after_tag(char sign, bool is_block) {
    if (sign == '-') {
      skip_spaces();
    } else if (sign != '+' && is_block && rest().starts_with('\n')) {
      advance(1);
    }
  }

  static size_t rstripped_size(std::string_view text) {
    size_t size = text.size();
    while (size > 0) {
      const size_t previous = previous_utf8(text, size);
      if (!is_python_space(decode_utf8(text, previous).code_point)) {
        break;
      }
      size = previous;
    }
    return size;
  }

  // `text` before a tag that begins with `sign`.
  std::string_view strip_before(std::string_view text, char sign, bool is_block) const {
    if (sign == '-') {
      return text.substr(0, rstripped_size(text));
    }
    if (sign != '+' && is_block) {
      const size_t line_begin = text.rfind('\n') + 1;  // npos + 1 is 0
      if ((line_begin > 0 || at_line_start_) && rstripped_size(text.substr(line_begin)) == 0) {
        return text.substr(0, line_begin);
      }
    }
    return text;
  }

  char sign_at(size_t offset) const {
    const char c = offset < rest().size() ? rest()[offset] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  // Position of the next "{{", "{%" or "{#", or the end of the source.
  size_t find_tag() const {
    for (size_t i = source_.find('{', position_); i != source_.npos; i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() &&
          std::string_view("{%#").find(source_[i + 1]) != std::string_view::npos) {
        return i;
      }
    }
    return source_.size();
  }

  void text_and_tag() {
    const size_t tag = find_tag();
    std::string_view text = rest().substr(0, tag - position_);
    if (tag == source_.size()) {
      add(Token::Kind::kText, std::string(text));
      advance(text.size());
      return;
    }
    const char type = source_[tag + 1];
    const char sign =
        tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+')
            ? source_[tag + 2]
            : '\0';
    const std::string_view kept = strip_before(text, sign, type != '{');
    if (!kept.empty()) {
      add(Token::Kind::kText, std::string(kept));
    }
    advance(text.size() + (sign == '\0' ? 2 : 3));
    at_line_start_ = false;
    switch (type) {
      case '#':
        comment();
        break;
      case '{':
        tag_body(Token::Kind::kOutputBegin, Token::Kind::kOutputEnd, "}}");
        break;
      default:
        if (!raw()) {
          tag_body(Token::Kind::kBlockBegin, Token::Kind::kBlockEnd, "%}");
        }
    }
  }

  void comment() {
    const size_t end = rest().find("#}");
    if (end == std::string_view::npos) {
      bad("a comment is not closed with '#}'");
    }
    const char sign =
        end > 0 && (rest()[end - 1] == '-' || rest()[end - 1] == '+') ? rest()[end - 1] : '\0';
    advance(end + 2);
    after_tag(sign, true);
  }

  // Reads "<spaces>name<spaces>[-+]%}" and tells its size and sign; 0: something else stands there.
  static std::pair<size_t, char> bare_tag(std::string_view text, std::string_view name) {
    size_t i = 0;
    const auto spaces = [&] {
      while (i < text.size() && is_space(text[i])) {
        ++i;
      }
    };
    spaces();
    if (!text.substr(i).starts_with(name)) {
      return {0, '\0'};
    }
    i += name.size();
    spaces();
    char sign = '\0';
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) {
      sign = text[i++];
    }
    return text.substr(i).starts_with("%}") ? std::pair(i + 2, sign) : std::pair(size_t{0}, '\0');
  }

  // The text of {% raw %}…{% endraw %} up to its end, when this tag is one.
  bool raw() {
    const auto [size, sign] = bare_tag(rest(), "raw");
    if (size == 0) {
      return false;
    }
    advance(size);
    if (sign == '-') {
      skip_spaces();
    }
    for (size_t i = rest().find("{%"); i != std::string_view::npos; i = rest().find("{%", i + 1)) {
      const char end_sign = sign_at(i + 2);
      const size_t name = i + 2 + (end_sign != '\0');
      const auto [end_size, close_sign] = bare_tag(rest().substr(name), "endraw");
      if (end_size > 0) {
        add(Token::Kind::kText, std::string(strip_before(rest().substr(0, i), end_sign, true)));
        advance(name + end_size);
        after_tag(close_sign, true);
        return true;
      }
    }
    bad("{% raw %} is not closed with {% endraw %}");
  }

  void tag_body(Token::Kind begin, Token::Kind end, std::string_view close) {
    add(begin, "");
    std::string open;  // brackets: a "}}" inside {…} closes them first
    while (true) {
      skip_spaces();
      if (rest().empty()) {
        bad(fmt::format("a tag is not closed with '{}'", close));
      }
      const char sign = sign_at(0);
      const bool signed_end =
          (sign == '-' || (sign == '+' && close == "%}")) && rest().substr(1).starts_with(close);
      if (open.empty() && (signed_end || rest().starts_with(close))) {
        add(end, "");
        advance(close.size() + signed_end);
        after_tag(signed_end ? sign : '\0', close == "%}");
        return;
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const char c = rest()[0];
    if (is_name_start(c)) {
      const auto end = std::find_if_not(rest().begin(), rest().end(),
                                        [](char x) { return is_name_start(x) || is_digit(x); });
      take(Token::Kind::kName, static_cast<size_t>(end - rest().begin()));
    } else if (is_digit(c)) {
      number();
    } else if (c == '"' || c == '\'') {
      string(c);
    } else {
      const auto* op = std::find_if(std::begin(kOperators), std::end(kOperators),
                                    [&](std::string_view o) { return rest().starts_with(o); });
      if (op == std::end(kOperators)) {
        bad(fmt::format("unexpected character '{}'",
                        rest().substr(0, decode_utf8(rest(), 0).size)));
      }
      const size_t opening = std::string_view("([{").find(c);
      const size_t closing = std::string_view(")]}").find(c);
      if (opening != std::string_view::npos) {
        open.push_back(")]}"[opening]);
      } else if (closing != std::string_view::npos) {
        if (open.empty() || open.back() != c) {
          bad(fmt::format("unexpected '{}'", c));
        }
        open.pop_back();
      }
      take(Token::Kind::kOperator, op->size());
    }
  }

  void take(Token::Kind kind, size_t size) {
    add(kind, std::string(rest().substr(0, size)));
    advance(size);
  }

  void number() {
    size_t i = 0;
    const auto digits = [&] {
      while (i < rest().size() && (is_digit(rest()[i]) || (rest()[i] == '_' && i > 0))) {
        ++i;
      }
    };
    const auto digit_at = [&](size_t k) { return k < rest().size() && is_digit(rest()[k]); };
    digits();
    bool is_float = false;
    const bool is_index = source_[position_ - 1] == '.';  // list.0.1
    if (!is_index && i < rest().size() && rest()[i] == '.' && digit_at(i + 1)) {
      is_float = true;
      ++i;
      digits();
    }
    if (i < rest().size() && (rest()[i] == 'e' || rest()[i] == 'E')) {
      const size_t exponent =
          i + 1 + (i + 1 < rest().size() && (rest()[i + 1] == '-' || rest()[i + 1] == '+'));
      if (digit_at(exponent)) {
        is_float = true;
        i = exponent;
        digits();
      }
    }
    std::string text(rest().substr(0, i));
    std::erase(text, '_');
    add(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, std::move(text));
    advance(i);
  }

  // Escapes are those of Python's string literals, as Jinja reads them.
  void string(char quote) {
    static constexpr std::pair<char, char> kEscapes[] = {
        {'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''},
        {'"', '"'},  {'a', '\a'}, {'b', '\b'}, {'f', '\f'},  {'v', '\v'}};
    std::string text;
    size_t i = 1;
    const std::string_view source = rest();
    while (i < source.size() && source[i] != quote) {
      if (source[i] != '\\' || i + 1 == source.size()) {
        text.push_back(source[i++]);
        continue;
      }
      const char c = source[i + 1];
      i += 2;
      const auto* row = std::find_if(std::begin(kEscapes), std::end(kEscapes),
                                     [&](const auto& r) { return r.first == c; });
      if (row != std::end(kEscapes)) {
        text.push_back(row->second);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        append_utf8(text, code_point(source, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16));
      } else if (c >= '0' && c <= '7') {
        size_t digits = 1;
        while (digits < 3 && i - 1 + digits < source.size() && source[i - 1 + digits] >= '0' &&
               source[i - 1 + digits] <= '7') {
          ++digits;
        }
        --i;
        append_utf8(text, code_point(source, i, digits, 8));
      } else if (c != '\n') {
        text.push_back('\\');
        text.push_back(c);
      }
    }
    if (i >= source.size()) {
      bad("a string is not closed");
    }
    add(Token::Kind::kString, std::move(text));
    advance(i + 1);
  }

  char32_t code_point(std::string_view source, size_t& i, size_t digits, unsigned base) {
    char32_t value = 0;
    for (size_t end = i + digits; i < end; ++i) {
      const char c = i < source.size() ? source[i] : '\0';
      const unsigned digit = is_digit(c) ? static_cast<unsigned>(c - '0')
                             : (c | 0x20) >= 'a' && (c | 0x20) <= 'f'
                                 ? static_cast<unsigned>((c | 0x20) - 'a' + 10)
                                 : 16;
      if (digit >= base || value > 0x10FFFF) {
        bad("a string has an escape that is cut short");
      }
      value = value * base + digit;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      bad("a string has an escape that is not a character");
    }
    return value;
  }

  std::string source_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
};

}  // namespace

std::vector<Token> tokenize_template(std::string_view source) { return Lexer(source).run(); }

}  // namespace hopskip::jinja
