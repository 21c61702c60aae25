#include "text/template_parser.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "text/template_builtins.h"
#include "text/template_lexer.h"

namespace hopskip::jinja {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

constexpr int kHeightPerDepth = 4;     // of an expression's tree, for each level of nesting
constexpr size_t kMaxChildren = 4096;  // of one expression: operands, elements, arguments

class Parser {
 public:
  Parser(std::string_view source, int max_depth)
      : tokens_(tokenize_template(source)), max_depth_(max_depth) {}

  Block parse() { return parse_block({}); }

 private:
  // Counts how deep the parser has gone: it is recursive, and so is the interpreter.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > parser_.max_depth_) {
        parser_.bad(fmt::format("nested deeper than {} levels", parser_.max_depth_));
      }
    }
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  [[noreturn]] void bad(std::string_view what) const {
    fail(ErrorCode::kCorrupt, "chat template, line {}: {}", peek().line, what);
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorCode::kUnsupported, "chat template, line {}: {} is not supported", peek().line, what);
  }

  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
  }
  Token take() { return tokens_[std::min(next_++, tokens_.size() - 1)]; }
  bool at(TokenKind kind, std::string_view text) const {
    return peek().kind == kind && peek().text == text;
  }
  bool at_operator(std::string_view text) const { return at(TokenKind::kOperator, text); }
  bool at_name(std::string_view text) const { return at(TokenKind::kName, text); }
  bool accept(TokenKind kind, std::string_view text) {
    const bool is_there = at(kind, text);
    next_ += is_there;
    return is_there;
  }
  bool accept_operator(std::string_view text) { return accept(TokenKind::kOperator, text); }
  bool accept_name(std::string_view text) { return accept(TokenKind::kName, text); }
  void expect_operator(std::string_view text) {
    if (!accept_operator(text)) {
      bad(fmt::format("expected '{}'{}", text, found()));
    }
  }
  void separator(std::string_view close) {
    if (!at_operator(close)) {
      expect_operator(",");
    }
  }
  std::string expect_name() {
    if (peek().kind != TokenKind::kName) {
      bad("expected a name" + found());
    }
    return take().text;
  }
  void expect_end(TokenKind kind, std::string_view text) {
    if (take().kind != kind) {
      --next_;
      bad(fmt::format("expected '{}'{}", text, found()));
    }
  }
  void expect_block_end() { expect_end(TokenKind::kBlockEnd, "%}"); }
  std::string found() const {
    return peek().text.empty() ? std::string() : fmt::format(", found '{}'", peek().text);
  }

  ExpressionPtr make(Kind kind, std::string text = {}) const {
    auto node = std::make_unique<Expression>();
    node->kind = kind;
    node->line = peek().line;
    node->text = std::move(text);
    return node;
  }
  ExpressionPtr make(Kind kind, ExpressionPtr child, std::string text = {}) const {
    auto node = make(kind, std::move(text));
    node->line = child->line;
    push(*node, std::move(child));
    return node;
  }

  // Statements.

  static bool contains(const std::vector<std::string_view>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  }

  // Everything up to a block tag with one of these names, whose name is the next token then.
  Block parse_block(const std::vector<std::string_view>& ends) {
    const Level level(*this);
    Block block;
    while (peek().kind != TokenKind::kEnd) {
      Token token = take();
      if (token.kind == TokenKind::kText) {
        block.push_back(
            {.kind = Statement::Kind::kText, .line = token.line, .text = std::move(token.text)});
      } else if (token.kind == TokenKind::kOutputBegin) {
        block.push_back({.kind = Statement::Kind::kOutput, .line = token.line});
        block.back().expression = parse_tuple();
        expect_end(TokenKind::kOutputEnd, "}}");
      } else {
        if (peek().kind == TokenKind::kName && contains(ends, peek().text)) {
          return block;
        }
        block.push_back(parse_statement());
      }
    }
    if (!ends.empty()) {
      bad(fmt::format("expected {{% {} %}}", ends.back()));
    }
    return block;
  }

  Block parse_body(std::string_view end) {
    expect_block_end();
    Block body = parse_block({end});
    take();
    expect_block_end();
    return body;
  }

  Statement parse_statement() {
    const int line = peek().line;
    const std::string name = expect_name();
    Statement statement{.kind = Statement::Kind::kScope, .line = line};
    if (name == "if") {
      parse_if(statement);
    } else if (name == "for") {
      parse_for(statement);
    } else if (name == "set") {
      parse_set(statement);
    } else if (name == "macro") {
      parse_macro(statement);
    } else if (name == "generation") {
      const int loops = std::exchange(loops_, 0);
      ++inner_;
      statement.body = parse_body("endgeneration");
      --inner_;
      loops_ = loops;
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) {
        bad(name + " outside a loop");
      }
      statement.kind = name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
      expect_block_end();
    } else if (contains({"block", "extends", "include", "import", "from", "call", "filter", "with",
                         "do", "autoescape", "trans", "debug"},
                        name)) {
      unsupported("{% " + name + " %}");
    } else {
      bad("unknown tag '" + name + "'");
    }
    return statement;
  }

  void parse_if(Statement& statement) {
    statement.kind = Statement::Kind::kIf;
    ExpressionPtr condition = parse_tuple(false);
    while (true) {
      expect_block_end();
      Block body = parse_block({"elif", "else", "endif"});
      statement.branches.emplace_back(std::move(condition), std::move(body));
      const std::string tag = take().text;
      if (tag == "elif") {
        condition = parse_tuple(false);
        continue;
      }
      if (tag == "else") {
        statement.branches.emplace_back(nullptr, parse_body("endif"));
        return;
      }
      expect_block_end();
      return;
    }
  }

  std::vector<std::string> parse_targets() {
    std::vector<std::string> names;
    const bool parenthesis = accept_operator("(");
    do {
      names.push_back(expect_name());
    } while (accept_operator(",") && peek().kind == TokenKind::kName);
    if (parenthesis) {
      expect_operator(")");
    }
    return names;
  }

  void parse_for(Statement& statement) {
    statement.kind = Statement::Kind::kFor;
    statement.names = parse_targets();
    if (!accept_name("in")) {
      bad("expected 'in'" + found());
    }
    statement.expression = parse_tuple(false);
    if (accept_name("if")) {
      statement.condition = parse_expression();
    }
    if (at_name("recursive")) {
      unsupported("a recursive loop");
    }
    expect_block_end();
    ++loops_;
    ++inner_;
    statement.body = parse_block({"else", "endfor"});
    --loops_;
    if (take().text == "else") {
      statement.otherwise = parse_body("endfor");
    } else {
      expect_block_end();
    }
    --inner_;
  }

  void parse_set(Statement& statement) {
    statement.kind = Statement::Kind::kSet;
    statement.names = parse_targets();
    if (statement.names.size() == 1 && accept_operator(".")) {
      statement.text = statement.names[0];
      statement.names[0] = expect_name();
    }
    if (accept_operator("=")) {
      statement.expression = parse_tuple();
      expect_block_end();
      return;
    }
    if (at_operator("|") || !statement.text.empty() || statement.names.size() != 1) {
      unsupported("{% set %} of this form");
    }
    statement.kind = Statement::Kind::kSetBlock;
    ++inner_;
    const int loops = std::exchange(loops_, 0);
    statement.body = parse_body("endset");
    loops_ = loops;
    --inner_;
  }

  void parse_macro(Statement& statement) {
    if (inner_ > 0) {
      unsupported("a macro inside a loop, a macro or a block");
    }
    statement.kind = Statement::Kind::kMacro;
    statement.macro = std::make_unique<Macro>();
    Macro& macro = *statement.macro;
    macro.name = expect_name();
    expect_operator("(");
    while (!accept_operator(")")) {
      macro.parameters.emplace_back(expect_name(), nullptr);
      if (accept_operator("=")) {
        macro.parameters.back().second = parse_expression();
      } else if (macro.parameters.size() > 1 &&
                 macro.parameters[macro.parameters.size() - 2].second) {
        bad("a parameter without a default behind one with a default");
      }
      separator(")");
    }
    ++inner_;
    macro.body = parse_body("endmacro");
    --inner_;
  }

  // Expressions, from the loosest binding to the tightest.

  ExpressionPtr parse_tuple(bool with_condition = true) {
    const auto element = [&] { return with_condition ? parse_expression() : parse_or(); };
    ExpressionPtr first = element();
    if (!at_operator(",")) {
      return first;
    }
    ExpressionPtr tuple = make(Kind::kTuple, std::move(first));
    while (accept_operator(",")) {
      if (peek().kind == TokenKind::kBlockEnd || peek().kind == TokenKind::kOutputEnd ||
          at_operator(")")) {
        break;
      }
      push(*tuple, element());
    }
    return tuple;
  }

  // Gives `child`, which may be null, to `node`. Left-leaning trees grow by iteration, so the
  // height is bounded here and not by Level.
  void push(Expression& node, ExpressionPtr child) const {
    if (node.children.size() >= kMaxChildren) {
      bad(fmt::format("an expression of more than {} parts", kMaxChildren));
    }
    if (child) {
      node.height = std::max(node.height, child->height + 1);
      if (node.height > max_depth_ * kHeightPerDepth) {
        bad(fmt::format("an expression of more than {} levels", max_depth_ * kHeightPerDepth));
      }
    }
    node.children.push_back(std::move(child));
  }

  ExpressionPtr parse_expression() {
    const Level level(*this);
    ExpressionPtr node = parse_or();
    while (accept_name("if")) {
      node = make(Kind::kConditional, std::move(node));
      push(*node, parse_or());
      push(*node, accept_name("else") ? parse_expression() : nullptr);
    }
    return node;
  }

  ExpressionPtr parse_or() { return parse_logical("or", Kind::kOr, &Parser::parse_and); }
  ExpressionPtr parse_and() { return parse_logical("and", Kind::kAnd, &Parser::parse_not); }

  ExpressionPtr parse_logical(std::string_view word, Kind kind,
                              ExpressionPtr (Parser::*operand)()) {
    ExpressionPtr node = (this->*operand)();
    while (accept_name(word)) {
      node = make(kind, std::move(node));
      push(*node, (this->*operand)());
    }
    return node;
  }

  ExpressionPtr parse_not() {
    if (!accept_name("not")) {
      return parse_compare();
    }
    const Level level(*this);
    return make(Kind::kNot, parse_not());
  }

  // "" when no comparison follows.
  std::string accept_comparison() {
    if (accept_name("in")) {
      return "in";
    }
    if (at_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in") {
      next_ += 2;
      return "not in";
    }
    const bool compares = peek().kind == TokenKind::kOperator &&
                          contains({"==", "!=", "<=", ">=", "<", ">"}, peek().text);
    return compares ? take().text : "";
  }

  ExpressionPtr parse_compare() {
    ExpressionPtr node = parse_binary(0);
    std::string op = accept_comparison();
    if (op.empty()) {
      return node;
    }
    node = make(Kind::kCompare, std::move(node));
    for (; !op.empty(); op = accept_comparison()) {
      node->operators.push_back(op);
      push(*node, parse_binary(0));
    }
    return node;
  }

  ExpressionPtr parse_binary(size_t level) {
    static const std::vector<std::vector<std::string_view>> kLevels = {
        {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
    if (level == kLevels.size()) {
      return parse_unary(true);
    }
    ExpressionPtr node = parse_binary(level + 1);
    while (peek().kind == TokenKind::kOperator && contains(kLevels[level], peek().text)) {
      std::string op = take().text;
      node = make(Kind::kBinary, std::move(node), std::move(op));
      push(*node, parse_binary(level + 1));
    }
    return node;
  }

  ExpressionPtr parse_unary(bool with_filter) {
    const Level level(*this);
    ExpressionPtr node;
    if (accept_operator("-")) {
      node = make(Kind::kNegate, parse_unary(false));
    } else if (accept_operator("+")) {
      node = make(Kind::kPositive, parse_unary(false));
    } else {
      node = parse_primary();
    }
    node = parse_postfix(std::move(node));
    return with_filter ? parse_filters(std::move(node)) : std::move(node);
  }

  ExpressionPtr constant(Value value) const {
    ExpressionPtr node = make(Kind::kConstant);
    node->value = std::move(value);
    return node;
  }

  ExpressionPtr parse_primary() {
    const Token& token = peek();
    switch (token.kind) {
      case TokenKind::kName:
        return parse_name();
      case TokenKind::kString: {
        std::string text;
        while (peek().kind == TokenKind::kString) {
          text += take().text;
        }
        return constant(std::make_shared<const std::string>(std::move(text)));
      }
      case TokenKind::kInteger: {
        int64_t value = 0;
        const char* end = token.text.data() + token.text.size();
        if (std::from_chars(token.text.data(), end, value).ec != std::errc()) {
          bad("the number " + token.text + " is too large");
        }
        take();
        return constant(value);
      }
      case TokenKind::kFloat: {
        double value = 0;
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
        take();
        return constant(value);
      }
      default:
        break;
    }
    if (accept_operator("(")) {
      if (accept_operator(")")) {
        return make(Kind::kTuple);
      }
      ExpressionPtr node = parse_tuple();
      expect_operator(")");
      return node;
    }
    if (accept_operator("[")) {
      ExpressionPtr node = make(Kind::kList);
      while (!accept_operator("]")) {
        push(*node, parse_expression());
        separator("]");
      }
      return node;
    }
    if (accept_operator("{")) {
      ExpressionPtr node = make(Kind::kDict);
      while (!accept_operator("}")) {
        push(*node, parse_expression());
        expect_operator(":");
        push(*node, parse_expression());
        separator("}");
      }
      return node;
    }
    bad("expected an expression" + found());
  }

  ExpressionPtr parse_name() {
    std::string name = take().text;
    const bool is_true = name == "true" || name == "True";
    if (is_true || name == "false" || name == "False") {
      return constant(is_true);
    }
    return name == "none" || name == "None" ? constant(None{}) : make(Kind::kName, std::move(name));
  }

  ExpressionPtr parse_postfix(ExpressionPtr node) {
    while (true) {
      if (accept_operator(".")) {
        if (peek().kind == TokenKind::kInteger) {
          node = make(Kind::kIndex, std::move(node));
          push(*node, parse_primary());
        } else {
          node = make(Kind::kAttribute, std::move(node), expect_name());
        }
      } else if (accept_operator("[")) {
        node = parse_subscript(std::move(node));
      } else if (at_operator("(")) {
        node = parse_arguments(make(Kind::kCall, std::move(node)));
      } else {
        return node;
      }
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr object) {
    ExpressionPtr node = make(Kind::kIndex, std::move(object));
    const auto part = [&]() -> ExpressionPtr {
      return at_operator(":") || at_operator("]") ? nullptr : parse_expression();
    };
    push(*node, part());
    if (at_operator(":")) {
      node->kind = Kind::kSlice;
      for (int i = 0; i < 2; ++i) {
        push(*node, accept_operator(":") ? part() : nullptr);
      }
    } else if (!node->children[1]) {
      bad("expected an index");
    }
    expect_operator("]");
    return node;
  }

  ExpressionPtr parse_arguments(ExpressionPtr node) {
    expect_operator("(");
    while (!accept_operator(")")) {
      if (at_operator("*") || at_operator("**")) {
        unsupported("an argument with *");
      }
      if (peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator &&
          peek(1).text == "=") {
        std::string name = take().text;
        take();
        ExpressionPtr argument = parse_expression();
        node->height = std::max(node->height, argument->height + 1);
        node->named.emplace_back(std::move(name), std::move(argument));
      } else if (!node->named.empty()) {
        bad("an argument without a name behind one with a name");
      } else {
        push(*node, parse_expression());
      }
      separator(")");
    }
    return node;
  }

  ExpressionPtr parse_filters(ExpressionPtr node) {
    while (true) {
      if (accept_operator("|")) {
        node = make(Kind::kFilter, std::move(node), expect_name());
        if (find_filter(node->text) == nullptr) {
          unsupported("the filter '" + node->text + "'");
        }
        if (at_operator("(")) {
          node = parse_arguments(std::move(node));
        }
      } else if (accept_name("is")) {
        node = parse_test(std::move(node));
      } else if (at_operator("(")) {
        node = parse_arguments(make(Kind::kCall, std::move(node)));
      } else {
        return node;
      }
    }
  }

  ExpressionPtr parse_test(ExpressionPtr object) {
    const bool negated = accept_name("not");
    ExpressionPtr node = make(Kind::kTest, std::move(object), expect_name());
    if (find_test(node->text) == nullptr) {
      unsupported("the test '" + node->text + "'");
    }
    const TokenKind kind = peek().kind;
    if (at_operator("(")) {
      node = parse_arguments(std::move(node));
    } else if ((kind == TokenKind::kName &&
                !contains({"else", "or", "and", "if", "is", "in", "not"}, peek().text)) ||
               kind == TokenKind::kString || kind == TokenKind::kInteger ||
               kind == TokenKind::kFloat || at_operator("[") || at_operator("{")) {
      const Level level(*this);
      push(*node, parse_postfix(parse_primary()));
    }
    return negated ? make(Kind::kNot, std::move(node)) : std::move(node);
  }

  std::vector<Token> tokens_;
  size_t next_ = 0;
  int max_depth_;
  int depth_ = 0;
  int loops_ = 0;  // around the current statement, where break and continue reach them
  int inner_ = 0;  // scopes around the current statement
};

}  // namespace

Block parse_template(std::string_view source, int max_depth) {
  return Parser(source, max_depth).parse();
}

}  // namespace hopskip::jinja
