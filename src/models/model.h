// A language model over a backend: token ids in, logits out.
#ifndef HOPSKIP_MODELS_MODEL_H_
#define HOPSKIP_MODELS_MODEL_H_

#include <cstdint>
#include <memory>

#include "kernels/backend.h"
#include "weights/checkpoint.h"

namespace hopskip {

class Model {
 public:
  virtual ~Model() = default;
  const ModelConfig& config() const { return config_; }
  // Of a layer that sees all keys.
  virtual AttentionShape attention_shape() const = 0;

  // Exact [step.num_rows()][hidden], before the final norm, in the backend's workspace.
  virtual Matrix forward(Step& step) = 0;
  // Exact out [n][vocab] from rows of what forward() gave, hidden [n][hidden], n ≥ 1.
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
