#include "engine/sequence.h"

namespace hopskip {

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

SkipCounts PhaseStats::total() const {
  SkipCounts sum;
  for (const SkipCounts& head : counts) {
    sum += head;
  }
  return sum;
}

}  // namespace hopskip
