#include "text/template_interpreter.h"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <utility>

#include "text/template_builtins.h"
#include "text/utf8.h"

namespace hopskip::jinja {
namespace {

constexpr int kDepthPerLimit = 16;  // nodes on the way to a leaf, for each level of the limit
constexpr double kMaxPower = 64;    // of integers

enum class Flow { kNext, kBreak, kContinue };

struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string, Value>> variables;

  Value* find(std::string_view name) {
    for (auto& [key, value] : variables) {
      if (key == name) {
        return &value;
      }
    }
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    if (Value* known = find(name)) {
      *known = std::move(value);
    } else {
      variables.emplace_back(name, std::move(value));
    }
  }
};

class Interpreter {
 public:
  Interpreter(Machine& machine, const Value& context) : machine_(machine), context_(context) {}

  std::string run(const Block& block) {
    std::string out;
    execute(block, root_, out);
    return out;
  }

 private:
  using Kind = Expression::Kind;

  class Level {
   public:
    explicit Level(Interpreter& interpreter) : depth_(interpreter.depth_) {
      const int limit = interpreter.machine_.limits().depth * kDepthPerLimit;
      if (++depth_ > limit) {
        --depth_;
        interpreter.machine_.fail("nested deeper than {} levels", limit);
      }
    }
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int& depth_;
  };

  // Statements.

  Flow execute(const Block& block, Scope& scope, std::string& out) {
    const Level level(*this);
    for (const Statement& statement : block) {
      const Flow flow = execute(statement, scope, out);
      if (flow != Flow::kNext) {
        return flow;
      }
    }
    return Flow::kNext;
  }

  void append(std::string& out, std::string_view text) {
    machine_.charge_bytes(text.size());
    out += text;
    if (out.size() > machine_.limits().value_bytes) {
      machine_.fail("a text of more than {} bytes", machine_.limits().value_bytes);
    }
  }

  Flow execute(const Statement& statement, Scope& scope, std::string& out) {
    machine_.set_line(statement.line);
    machine_.charge(1);
    switch (statement.kind) {
      case Statement::Kind::kText:
        append(out, statement.text);
        break;
      case Statement::Kind::kOutput: {
        const Value value = evaluate(*statement.expression, scope);
        append(out, value.is_string() ? value.string() : to_text(machine_, value));
        break;
      }
      case Statement::Kind::kIf:
        for (const auto& [condition, body] : statement.branches) {
          if (!condition || evaluate(*condition, scope).truthy()) {
            return execute(body, scope, out);
          }
        }
        break;
      case Statement::Kind::kFor:
        return execute_for(statement, scope, out);
      case Statement::Kind::kSet:
        execute_set(statement, scope);
        break;
      case Statement::Kind::kSetBlock: {
        std::string text;
        Scope inner{&scope, {}};
        execute(statement.body, inner, text);
        scope.set(statement.names[0], machine_.string(std::move(text)));
        break;
      }
      case Statement::Kind::kMacro:
        scope.set(statement.macro->name, static_cast<const Macro*>(statement.macro.get()));
        break;
      case Statement::Kind::kScope: {
        Scope inner{&scope, {}};
        execute(statement.body, inner, out);
        break;
      }
      case Statement::Kind::kBreak:
        return Flow::kBreak;
      case Statement::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void assign(const std::vector<std::string>& names, const Value& value, Scope& scope) {
    if (names.size() == 1) {
      scope.set(names[0], value);
      return;
    }
    const std::vector<Value> parts = machine_.iterate(value);
    if (parts.size() != names.size()) {
      machine_.fail("{} values for {} names", parts.size(), names.size());
    }
    for (size_t i = 0; i < names.size(); ++i) {
      scope.set(names[i], parts[i]);
    }
  }

  void execute_set(const Statement& statement, Scope& scope) {
    Value value = evaluate(*statement.expression, scope);
    if (statement.text.empty()) {
      assign(statement.names, value, scope);
      return;
    }
    const Value target = lookup(statement.text, scope);
    if (!target.is<Namespace*>()) {
      machine_.fail("'{}' is a {}: only the attributes of a namespace can be set", statement.text,
                    target.type_name());
    }
    Namespace& attributes = *target.get<Namespace*>();
    if (Value* known = attributes.find(statement.names[0])) {
      *known = std::move(value);
    } else {
      attributes.items.emplace_back(statement.names[0], std::move(value));
    }
  }

  Flow execute_for(const Statement& statement, Scope& scope, std::string& out) {
    std::vector<Value> items = machine_.iterate(evaluate(*statement.expression, scope));
    if (statement.condition) {
      std::vector<Value> kept;
      for (Value& item : items) {
        Scope inner{&scope, {}};
        assign(statement.names, item, inner);
        if (evaluate(*statement.condition, inner).truthy()) {
          kept.push_back(std::move(item));
        }
      }
      items = std::move(kept);
    }
    if (items.empty()) {
      Scope inner{&scope, {}};
      return execute(statement.otherwise, inner, out);
    }
    Loop& loop =
        *loops_.emplace_back(std::make_unique<Loop>(Loop{std::move(items), 0, 1 + loop_depth_}));
    ++loop_depth_;
    for (; loop.index < loop.items.size(); ++loop.index) {
      Scope inner{&scope, {}};
      inner.set("loop", static_cast<const Loop*>(&loop));
      assign(statement.names, loop.items[loop.index], inner);
      if (execute(statement.body, inner, out) == Flow::kBreak) {
        break;
      }
    }
    --loop_depth_;
    loop.items = {};
    loop.index = 0;
    return Flow::kNext;
  }

  // Expressions.

  Value lookup(const std::string& name, Scope& scope) {
    for (Scope* s = &scope; s != nullptr; s = s->parent) {
      if (const Value* value = s->find(name)) {
        return *value;
      }
    }
    if (const Value* value = context_.dict().find(name)) {
      return *value;
    }
    if (const Function function = find_global(name)) {
      return Callable{name, function, nullptr};
    }
    return Undefined{name};
  }

  Value evaluate(const Expression& node, Scope& scope) {
    const Level level(*this);
    machine_.charge(1);
    machine_.set_line(node.line);
    const auto child = [&](size_t i) { return evaluate(*node.children[i], scope); };
    switch (node.kind) {
      case Kind::kConstant:
        return node.value;
      case Kind::kName:
        return lookup(node.text, scope);
      case Kind::kList:
      case Kind::kTuple:
        return machine_.list(evaluate_all(node, 0, scope), node.kind == Kind::kTuple);
      case Kind::kDict:
        return evaluate_dict(node, scope);
      case Kind::kAttribute:
        return get_attribute(machine_, child(0), node.text);
      case Kind::kIndex: {
        const Value object = child(0);
        return get_item(machine_, object, child(1));
      }
      case Kind::kSlice:
        return evaluate_slice(node, scope);
      case Kind::kCall:
        return call(node, scope);
      case Kind::kFilter:
      case Kind::kTest: {
        const Value object = child(0);
        const Function function =
            node.kind == Kind::kFilter ? find_filter(node.text) : find_test(node.text);
        const Arguments arguments = evaluate_arguments(node, scope);
        machine_.set_line(node.line);
        return function(machine_, object, arguments);
      }
      case Kind::kNot:
        return !child(0).truthy();
      case Kind::kNegate:
      case Kind::kPositive: {
        const Value zero = int64_t{0};
        const Value operand = child(0);
        return node.kind == Kind::kNegate && operand.is<double>()
                   ? Value(-operand.get<double>())
                   : binary(node.kind == Kind::kNegate ? "-" : "+", zero, operand);
      }
      case Kind::kAnd: {
        Value left = child(0);
        return left.truthy() ? child(1) : left;
      }
      case Kind::kOr: {
        Value left = child(0);
        return left.truthy() ? left : child(1);
      }
      case Kind::kConditional:
        return child(1).truthy()  ? child(0)
               : node.children[2] ? child(2)
                                  : Value(Undefined{"the value without else"});
      case Kind::kCompare:
        return evaluate_compare(node, scope);
      case Kind::kBinary: {
        const Value left = child(0);
        const Value right = child(1);
        machine_.set_line(node.line);
        return binary(node.text, left, right);
      }
    }
    return {};
  }

  std::vector<Value> evaluate_all(const Expression& node, size_t first, Scope& scope) {
    std::vector<Value> values;
    for (size_t i = first; i < node.children.size(); ++i) {
      values.push_back(evaluate(*node.children[i], scope));
    }
    return values;
  }

  Value evaluate_dict(const Expression& node, Scope& scope) {
    Scope items;  // a later value of the same key takes the place of the earlier
    for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
      const Value key = evaluate(*node.children[i], scope);
      if (!key.is_string()) {
        machine_.fail("a key of type {}: the keys of a dict must be strings", key.type_name());
      }
      items.set(key.string(), evaluate(*node.children[i + 1], scope));
    }
    return machine_.dict(std::move(items.variables));
  }

  Arguments evaluate_arguments(const Expression& node, Scope& scope) {
    Arguments arguments{evaluate_all(node, 1, scope), {}};
    for (const auto& [name, value] : node.named) {
      arguments.named.emplace_back(name, evaluate(*value, scope));
    }
    return arguments;
  }

  Value call(const Expression& node, Scope& scope) {
    const Value callee = evaluate(*node.children[0], scope);
    const Arguments arguments = evaluate_arguments(node, scope);
    machine_.set_line(node.line);
    if (callee.is<Callable>()) {
      const Callable& callable = callee.get<Callable>();
      return callable.function(machine_, callable.self ? *callable.self : Value(), arguments);
    }
    if (callee.is<const Macro*>()) {
      return call_macro(*callee.get<const Macro*>(), arguments);
    }
    if (callee.is_undefined()) {
      machine_.fail("'{}' is undefined and cannot be called", callee.get<Undefined>().name);
    }
    machine_.fail("a value of type {} cannot be called", callee.type_name());
  }

  Value call_macro(const Macro& macro, const Arguments& arguments) {
    if (arguments.positional.size() > macro.parameters.size()) {
      machine_.fail("macro '{}' takes {} arguments, {} are given", macro.name,
                    macro.parameters.size(), arguments.positional.size());
    }
    for (const auto& [name, value] : arguments.named) {
      bool known = false;
      for (const auto& [parameter, unused] : macro.parameters) {
        known |= parameter == name;
      }
      if (!known) {
        machine_.fail("macro '{}' has no parameter '{}'", macro.name, name);
      }
    }
    Scope scope{&root_, {}};
    for (size_t i = 0; i < macro.parameters.size(); ++i) {
      const auto& [name, otherwise] = macro.parameters[i];
      const Value* given = arguments.find(i, name);
      scope.set(name, given       ? *given
                      : otherwise ? evaluate(*otherwise, scope)
                                  : Value(Undefined{name}));
    }
    std::string out;
    execute(macro.body, scope, out);
    return machine_.string(std::move(out));
  }

  Value evaluate_compare(const Expression& node, Scope& scope) {
    Value left = evaluate(*node.children[0], scope);
    for (size_t i = 0; i < node.operators.size(); ++i) {
      Value right = evaluate(*node.children[i + 1], scope);
      machine_.set_line(node.line);
      if (!compare(node.operators[i], left, right)) {
        return false;
      }
      left = std::move(right);
    }
    return true;
  }

  bool compare(std::string_view op, const Value& a, const Value& b) {
    if (op == "==" || op == "!=") {
      return equal(machine_, a, b) == (op == "==");
    }
    if (op == "in" || op == "not in") {
      return contains(machine_, b, a) == (op == "in");
    }
    if (op == "<" || op == ">=") {
      return op == "<" ? less(machine_, a, b) : less(machine_, b, a) || equal(machine_, a, b);
    }
    return op == ">" ? less(machine_, b, a) : less(machine_, a, b) || equal(machine_, a, b);
  }

  Value binary(std::string_view op, const Value& a, const Value& b) {
    if (op == "~") {
      return machine_.string(to_text(machine_, a) + to_text(machine_, b));
    }
    if (a.is_integer() && b.is_integer() && op != "/") {
      return integer_operation(op, a.integer(), b.integer());
    }
    if (a.is_number() && b.is_number()) {
      return float_operation(op, a.number(), b.number());
    }
    if (op == "+" && a.is_string() && b.is_string()) {
      return machine_.string(a.string() + b.string());
    }
    if (op == "+" && a.is_list() && b.is_list() && a.list().is_tuple == b.list().is_tuple) {
      std::vector<Value> items = a.list().items;
      items.insert(items.end(), b.list().items.begin(), b.list().items.end());
      return machine_.list(std::move(items), a.list().is_tuple);
    }
    if (op == "*" && a.is_integer() != b.is_integer()) {
      const Value& sequence = a.is_integer() ? b : a;
      const int64_t times = std::max<int64_t>(0, (a.is_integer() ? a : b).integer());
      if (sequence.is_string() || sequence.is_list()) {
        return repeat(sequence, static_cast<size_t>(times));
      }
    }
    for (const Value* value : {&a, &b}) {
      if (value->is_undefined()) {
        machine_.fail("'{}' is undefined", value->get<Undefined>().name);
      }
    }
    machine_.fail("'{}' does not work on values of type {} and {}", op, a.type_name(),
                  b.type_name());
  }

  Value repeat(const Value& sequence, size_t times) {
    const size_t size =
        sequence.is_string() ? sequence.string().size() : sequence.list().items.size();
    if (size > 0 && times > machine_.limits().value_bytes / size) {
      machine_.fail("a value of more than {} elements", machine_.limits().value_bytes);
    }
    machine_.charge(size == 0 ? 0 : size * times / (sequence.is_string() ? 16 : 1));
    std::string text;
    std::vector<Value> items;
    for (size_t i = 0; size > 0 && i < times; ++i) {
      if (sequence.is_string()) {
        text += sequence.string();
      } else {
        items.insert(items.end(), sequence.list().items.begin(), sequence.list().items.end());
      }
    }
    return sequence.is_string() ? machine_.string(std::move(text))
                                : machine_.list(std::move(items), sequence.list().is_tuple);
  }

  Value integer_operation(std::string_view op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflow = false;
    if (op == "+") {
      overflow = __builtin_add_overflow(a, b, &result);
    } else if (op == "-") {
      overflow = __builtin_sub_overflow(a, b, &result);
    } else if (op == "*") {
      overflow = __builtin_mul_overflow(a, b, &result);
    } else if (op == "**") {
      if (b < 0) {
        return std::pow(static_cast<double>(a), static_cast<double>(b));
      }
      result = 1;
      for (int64_t i = 0; i < b && !overflow && result != 0 && !(a == 1); ++i) {
        overflow = (i > kMaxPower && a != -1) || __builtin_mul_overflow(result, a, &result);
        machine_.charge(1);
      }
    } else {
      if (b == 0) {
        machine_.fail("division by zero");
      }
      overflow = a == INT64_MIN && b == -1;
      if (!overflow) {  // Python rounds down, C++ towards zero
        const int64_t quotient = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
        result = op == "//" ? quotient : a - quotient * b;
      }
    }
    if (overflow) {
      machine_.fail("an integer of more than 64 bits");
    }
    return result;
  }

  Value float_operation(std::string_view op, double a, double b) {
    if (op == "+") {
      return a + b;
    }
    if (op == "-") {
      return a - b;
    }
    if (op == "*") {
      return a * b;
    }
    if (op == "**") {
      return std::pow(a, b);
    }
    if (b == 0) {
      machine_.fail("division by zero");
    }
    return op == "/" ? a / b : op == "//" ? std::floor(a / b) : a - std::floor(a / b) * b;
  }

  Value evaluate_slice(const Expression& node, Scope& scope) {
    const Value object = evaluate(*node.children[0], scope);
    const auto part = [&](size_t i, int64_t otherwise) {
      const Value value = node.children[i] ? evaluate(*node.children[i], scope) : Value(None{});
      if (value.is_none()) {
        return otherwise;
      }
      if (!value.is_integer()) {
        machine_.fail("a slice with a bound of type {}", value.type_name());
      }
      return value.integer();
    };
    if (!object.is_string() && !object.is_list()) {
      if (object.is_undefined()) {
        machine_.fail("'{}' is undefined", object.get<Undefined>().name);
      }
      machine_.fail("a value of type {} has no slices", object.type_name());
    }
    const std::vector<Value> items = machine_.iterate(object);
    const auto size = static_cast<int64_t>(items.size());
    const int64_t step = part(3, 1);
    if (step == 0 || step == INT64_MIN) {
      machine_.fail("a slice with step {}", step);
    }
    const int64_t low = step > 0 ? 0 : -1;
    const int64_t high = step > 0 ? size : size - 1;
    const auto clamp = [&](int64_t bound) {
      bound = bound < 0 ? std::max(bound, -size - 1) + size : bound;
      return std::min(std::max(bound, low), high);
    };
    int64_t from = part(1, INT64_MAX);
    int64_t to = part(2, INT64_MAX);
    from = from != INT64_MAX ? clamp(from) : step > 0 ? low : high;
    to = to != INT64_MAX ? clamp(to) : step > 0 ? high : low;
    std::vector<Value> kept;
    std::string text;
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
      const Value& item = items[static_cast<size_t>(i)];
      if (object.is_string()) {
        text += item.string();
      } else {
        kept.push_back(item);
      }
      if (__builtin_add_overflow(i, step, &i)) {
        break;
      }
    }
    return object.is_string() ? machine_.string(std::move(text))
                              : machine_.list(std::move(kept), object.list().is_tuple);
  }

  Machine& machine_;
  const Value& context_;
  Scope root_;
  int depth_ = 0;
  int loop_depth_ = 0;
  std::vector<std::unique_ptr<Loop>> loops_;  // all that have begun
};

}  // namespace

Value Loop::attribute(std::string_view name) const {
  const auto size = static_cast<int64_t>(items.size());
  const auto i = static_cast<int64_t>(index);
  const std::pair<std::string_view, int64_t> numbers[] = {
      {"index", i + 1}, {"index0", i},    {"revindex", size - i}, {"revindex0", size - i - 1},
      {"length", size}, {"depth", depth}, {"depth0", depth - 1}};
  for (const auto& [key, value] : numbers) {
    if (key == name) {
      return value;
    }
  }
  if (name == "first" || name == "last") {
    return name == "first" ? i == 0 : i + 1 == size;
  }
  if (name == "previtem" && index > 0) {
    return items[index - 1];
  }
  if (name == "nextitem" && index + 1 < items.size()) {
    return items[index + 1];
  }
  return Undefined{"loop." + std::string(name)};
}

std::string run_template(Machine& machine, const Block& block, const Value& variables) {
  return Interpreter(machine, variables).run(block);
}

}  // namespace hopskip::jinja
