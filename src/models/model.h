// A language model over a backend: token ids in, logits out.
#ifndef HOPSKIP_MODELS_MODEL_H_
#define HOPSKIP_MODELS_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/backend.h"
#include "weights/checkpoint.h"

namespace hopskip {

class Model {
 public:
  virtual ~Model() = default;
  // What this rank of the backend's world computes (shard_of()): its heads and inner units.
  const ModelConfig& config() const { return config_; }
  // Of a layer that sees all keys.
  virtual AttentionShape attention_shape() const = 0;

  // Exact [step.num_rows()][hidden], before the final norm, in the backend's workspace. The ranks
  // of a world run equal steps, each with its own KV storage, and get equal values.
  virtual Matrix forward(Step& step) = 0;
  // Exact out [n][vocab] from rows of what forward() gave, hidden [n][hidden], n ≥ 1.
  virtual void logits(Matrix hidden, Matrix out) = 0;

 protected:
  explicit Model(const ModelConfig& config) : config_(config) {}

 private:
  ModelConfig config_;
};

// Told while a model is loaded: bytes of the checkpoint's tensors that are done, of how many.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// By the table in models.cc. Both must outlive the model. Throws Unsupported, listing what is
// known, for another architecture, or where the ranks of the backend's world cannot share the
// model; NotFound or Corrupt, naming the tensor, for one that is missing or misshapen; OutOfMemory,
// before anything is loaded, where the backend has no room for the weights or the host none for
// them and `kv`, the KV cache that is to stand beside them (no pages: not known); what check_kv()
// throws for one that the backend cannot have, then, too.
std::unique_ptr<Model> load_model(const Checkpoint& checkpoint, Backend& backend,
                                  const LoadProgress& on_load = {}, const KvConfig& kv = {});

// Of the model's weights, the bytes that stay in use where the checkpoint's files are mapped
// (HostBytes::mapped). Loads nothing; throws as load_model() does for what the checkpoint lacks.
int64_t mapped_bytes(const Checkpoint& checkpoint, Backend& backend);

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_MODEL_H_
