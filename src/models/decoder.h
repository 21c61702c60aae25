// The pre-norm decoder-only transformer that Llama, Qwen2 and Qwen3 share; what tells them apart
// (biases, norms of q and k, windows, experts) are flags of ModelConfig.
#ifndef HOPSKIP_MODELS_DECODER_H_
#define HOPSKIP_MODELS_DECODER_H_

#include <memory>

#include "models/layers/loader.h"
#include "models/model.h"

namespace hopskip {

// As load_model(), whatever the architecture is called. From a loader that only plans comes a model
// that cannot run.
std::unique_ptr<Model> load_decoder(const Loader& load);

}  // namespace hopskip

#endif  // HOPSKIP_MODELS_DECODER_H_
