#include "attention/tile_plan.h"

#include <algorithm>
#include <array>
#include <regex>
#include <string_view>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr size_t kMaxText = 128;  // std::regex recurses for every character of a repetition

struct OrderName {
  VisitOrder order;
  std::string_view name;
};
constexpr std::array<OrderName, 3> kOrders{{
    {VisitOrder::kFirstToLast, "first-to-last"},
    {VisitOrder::kLastToFirst, "last-to-first"},
    {VisitOrder::kSinkDiagonalInward, "sink-diagonal-inward"},
}};
// By MaxSeed, as they follow the order.
constexpr std::array<std::string_view, 3> kSeeds{"", " exact", " ends"};

}  // namespace

std::string to_string(const TilePlan& plan) {
  std::string text = fmt::format("{}", plan.rows);
  if (plan.heads > 1) {
    text += fmt::format("*{}", plan.heads);
  }
  text +=
      fmt::format("x{}/{} {}", plan.keys, plan.span, kOrders[static_cast<size_t>(plan.order)].name);
  text += kSeeds[static_cast<size_t>(plan.seed)];
  if (plan.split > 0) {
    text += fmt::format(" split {}", plan.split);
  }
  return text;
}

TilePlan parse_tile_plan(const std::string& text) {
  static const std::regex pattern(
      R"((\d{1,6})(\*(\d{1,4}))?x(\d{1,6})/(\d{1,6}) ([a-z-]+)( exact| ends)?( split (\d{1,8}))?)");
  std::smatch match;
  const auto malformed = [&]() {
    fail(ErrorCode::kInvalidArgument,
         "'{}' is not a tile plan; expected rows[*heads]xkeys/span order [exact|ends] [split N], "
         "e.g. '16x16/256 sink-diagonal-inward', with an order of first-to-last, last-to-first, "
         "sink-diagonal-inward",
         std::string_view(text).substr(0, kMaxText));
  };
  if (text.size() > kMaxText || !std::regex_match(text, match, pattern)) {
    malformed();
  }
  TilePlan plan;
  plan.rows = std::stoi(match[1]);
  plan.heads = match[3].matched ? std::stoi(match[3]) : 1;
  plan.keys = std::stoi(match[4]);
  plan.span = std::stoi(match[5]);
  plan.seed = static_cast<MaxSeed>(std::find(kSeeds.begin(), kSeeds.end(), match[7].str()) -
                                   kSeeds.begin());
  plan.split = match[9].matched ? std::stoi(match[9]) : 0;
  for (const OrderName& row : kOrders) {
    if (match[6].str() == row.name) {
      plan.order = row.order;
      return plan;
    }
  }
  malformed();
  return plan;
}

void validate(const TilePlan& plan, int group) {
  check(plan.rows > 0 && plan.keys > 0, ErrorCode::kInvalidArgument,
        "tile plan '{}': rows and keys must be positive", to_string(plan));
  check(plan.heads == 1 || plan.heads == group, ErrorCode::kInvalidArgument,
        "tile plan '{}': heads voting together must be 1 or the group size {}", to_string(plan),
        group);
  check(plan.span >= plan.keys && plan.span % plan.keys == 0, ErrorCode::kInvalidArgument,
        "tile plan '{}': the span must be a multiple of the {} keys of a tile", to_string(plan),
        plan.keys);
  check(plan.split >= 0 && plan.split % plan.span == 0, ErrorCode::kInvalidArgument,
        "tile plan '{}': a split must be a multiple of the span", to_string(plan));
}

}  // namespace hopskip
