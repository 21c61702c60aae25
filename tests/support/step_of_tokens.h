// A step without attention, for tests of the operations around it.
#ifndef HOPSKIP_TESTS_SUPPORT_STEP_OF_TOKENS_H_
#define HOPSKIP_TESTS_SUPPORT_STEP_OF_TOKENS_H_

#include <memory>
#include <utility>
#include <vector>

#include "kernels/backend.h"

namespace hopskip::test {

// Tokens of no sequence: kv_append and attention have nothing to do.
class StepOfTokens {
 public:
  StepOfTokens(Backend& backend, std::vector<int32_t> tokens, std::vector<int32_t> positions,
               std::vector<int64_t> rows = {})
      : tokens_(std::move(tokens)),
        positions_(std::move(positions)),
        rows_(std::move(rows)),
        kv_(backend.make_kv_storage({.num_layers = 1, .num_kv_heads = 1, .head_dim = 64})),
        step_(backend.begin_step({.tokens = tokens_,
                                  .positions = positions_,
                                  .rows = rows_,
                                  .kv = kv_.get(),
                                  .num_heads = 1,
                                  .reads_early = true})) {}

  Step& get() const { return *step_; }

 private:
  std::vector<int32_t> tokens_, positions_;
  std::vector<int64_t> rows_;
  std::unique_ptr<KvStorage> kv_;
  std::unique_ptr<Step> step_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_STEP_OF_TOKENS_H_
