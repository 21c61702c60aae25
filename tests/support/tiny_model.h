// A language model of random weights, small enough for the reference backend to run in no time.
#ifndef HOPSKIP_TESTS_SUPPORT_TINY_MODEL_H_
#define HOPSKIP_TESTS_SUPPORT_TINY_MODEL_H_

#include <cstdint>
#include <vector>

#include "support/checkpoint_writer.h"
#include "weights/checkpoint.h"

namespace hopskip::test {

// 2 layers, 4 heads over 2 KV heads of 8 dimensions, 48 tokens of vocabulary.
ModelConfig tiny_config();
// The same with 2 of 5 experts for each token.
ModelConfig tiny_moe_config();

// A checkpoint in memory with every tensor that `config` asks for. Its output depends strongly on
// all of its input: a wrong key or position shows in the next token. Does not move.
class TinyModel {
 public:
  explicit TinyModel(const ModelConfig& config = tiny_config(), uint32_t seed = 1);
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  Checkpoint& checkpoint() { return checkpoint_; }

 private:
  void add(const std::string& name, std::vector<int64_t> shape, float deviation);

  Checkpoint checkpoint_;
  std::vector<StoredTensor> tensors_;
  uint32_t seed_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_TINY_MODEL_H_
