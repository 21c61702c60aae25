// A language model over a backend: token ids in, logits out.
#ifndef HOPSKIP_MODELS_MODEL_H_
#define HOPSKIP_MODELS_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/backend.h"
#include "weights/checkpoint.h"

namespace hopskip {

// One step over a ragged batch of T tokens in S sequences.
struct ModelStep {
  std::span<const int32_t> tokens;               // [T], ids < vocab
  std::span<const int32_t> positions;            // [T]
  std::span<const AttentionSequence> sequences;  // [S], their rows make up [0, T)
  KvStorage* kv = nullptr;                       // the step's K and V are appended to it
  std::span<const int64_t> rows;                 // tokens whose hidden state is wanted, rising
  std::span<SkipCounts> counts;                  // [num_layers][S][num_heads], added to
};

class Model {
 public:
  virtual ~Model() = default;
  const ModelConfig& config() const { return config_; }
  // Of a layer that sees all keys.
  virtual AttentionShape attention_shape() const = 0;

  // [rows][hidden], before the final norm, in the backend's workspace.
  virtual Matrix forward(const ModelStep& step) = 0;
  // out [n][vocab] from hidden [n][hidden], n ≥ 1; hidden is used up.
  virtual void logits(Matrix hidden, Matrix out) = 0;

 protected:
  explicit Model(const ModelConfig& config) : config_(config) {}

 private:
  ModelConfig config_;
};

// By the table in models.cc. Both must outlive the model. Throws Unsupported, listing what is
// known, for another architecture; NotFound or Corrupt, naming the tensor, for one that is missing
// or misshapen.
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend);

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_MODEL_H_
