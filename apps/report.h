// What a generation came to: for people on stderr, for programs as JSON.
#ifndef HOPSKIP_APPS_REPORT_H_
#define HOPSKIP_APPS_REPORT_H_

#include <string>

#include "hopskip/llm.h"

namespace hopskip::apps {

// "43.2 %", of tiles visible.
std::string percent(double share);

// A few lines: tokens, times, share of tiles skipped, notices.
std::string summary(const ModelInfo& info, const Output& output);

// Keys: model, device, kv_dtype, prompt_tokens, generated_tokens, ttft_s, prefill_tokens_per_s,
// tpot_s, text, tokens, for prefill and decode each {threshold_scale_factor, tiles, skipped,
// sparsity, per_layer_head: [layer][head] of {tiles, skipped, sparsity}}, and notices where there
// are any.
std::string stats_json(const ModelInfo& info, const Output& output);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_REPORT_H_
