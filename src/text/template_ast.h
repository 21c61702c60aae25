// The tree of a parsed template.
#ifndef HOPSKIP_TEXT_TEMPLATE_AST_H_
#define HOPSKIP_TEXT_TEMPLATE_AST_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/template_value.h"

namespace hopskip::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kConstant,   // value
    kName,       // text
    kList,       // children
    kTuple,      // children
    kDict,       // children: key, value, key, value, …
    kAttribute,  // children[0] . text
    kIndex,      // children[0] [ children[1] ]
    kSlice,      // children[0] [ children[1] : children[2] : children[3] ], each may be null
    kCall,       // children[0] ( children[1…], named )
    kFilter,     // children[0] | text ( children[1…], named )
    kTest,       // children[0] is text ( children[1…] )
    kNot,        // children[0]
    kNegate,
    kPositive,
    kAnd,  // children[0], children[1]
    kOr,
    kConditional,  // children[0] if children[1] else children[2], which may be null
    kCompare,      // children[0] operators[0] children[1] operators[1] children[2] …
    kBinary,       // children[0] text children[1]
  };
  Kind kind;
  int line;
  std::string text = {};
  Value value = {};
  std::vector<ExpressionPtr> children = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};
  std::vector<std::string> operators = {};
  int height = 1;  // of the tree below
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind {
    kText,      // text
    kOutput,    // expression
    kIf,        // branches of condition and block; the condition of else is null
    kFor,       // names in expression [if condition] body else otherwise
    kSet,       // names = expression; or text.names[0] = expression
    kSetBlock,  // names[0] = the text of body
    kMacro,     // macro
    kScope,     // body, with variables of its own
    kBreak,
    kContinue,
  };
  Kind kind;
  int line;
  std::string text = {};
  std::vector<std::string> names = {};
  ExpressionPtr expression = {};
  ExpressionPtr condition = {};
  std::vector<std::pair<ExpressionPtr, Block>> branches = {};
  Block body = {};
  Block otherwise = {};
  std::unique_ptr<Macro> macro = {};
};

struct Macro {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // default: null for none
  Block body;
};

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_AST_H_
