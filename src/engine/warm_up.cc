#include "engine/warm_up.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "engine/admission.h"

namespace hopskip {

int64_t memory_beside_largest_step(Backend& backend, Model& model, const EngineOptions& options) {
  const ModelConfig& config = model.config();
  EngineOptions small = options;
  small.kv_tokens = std::min(options.chunk_tokens, options.context);
  const KvConfig of_step = kv_config(small, config, 0);
  if (options.kv_tokens > 0 || backend.memory_for_kv(of_step) == 0) {
    return 0;
  }
  auto kv = backend.make_kv_storage(of_step);
  std::vector<int32_t> pages(kv->config().num_pages);
  std::iota(pages.begin(), pages.end(), 0);
  const std::vector<int32_t> tokens(small.kv_tokens);
  std::vector<int32_t> positions(small.kv_tokens);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<int64_t> rows(std::min<int64_t>(options.max_sequences, small.kv_tokens));
  std::iota(rows.begin(), rows.end(), 0);
  const AttentionSequence sequence{0, small.kv_tokens, small.kv_tokens, pages};

  backend.reset_workspace();
  {
    const auto step = backend.begin_step({.tokens = tokens,
                                          .positions = positions,
                                          .sequences = {&sequence, 1},
                                          .rows = rows,
                                          .kv = kv.get(),
                                          .num_heads = static_cast<int>(config.num_heads)});
    const Matrix hidden = model.forward(*step);
    const Matrix logits = backend.allocate(hidden.rows, config.vocab_size, MatrixKind::kExact);
    model.logits(hidden, logits);
    const Matrix best =
        backend.allocate(hidden.rows, candidate_cols(std::min(kMostCandidates, config.vocab_size)),
                         MatrixKind::kExact);
    backend.top_candidates(logits, best);
    backend.end_step(*step);
    backend.read_candidates(best);
  }
  backend.reset_workspace();
  kv.reset();
  return backend.memory_for_kv(of_step);
}

}  // namespace hopskip
