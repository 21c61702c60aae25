// What the engine accepts: options against the model, requests against both.
#ifndef HOPSKIP_ENGINE_ADMISSION_H_
#define HOPSKIP_ENGINE_ADMISSION_H_

#include <cstdint>

#include "engine/engine.h"
#include "engine/sequence.h"
#include "kernels/backend.h"
#include "weights/model_config.h"

namespace hopskip {

// The options with their defaults filled in. Throws InvalidArgument for what the model cannot do.
EngineOptions resolved(EngineOptions options, const ModelConfig& model);
// The KV cache of resolved options. memory: Backend::memory_for_kv(). Throws InvalidArgument for
// more pages than can be numbered, OutOfMemory where not even one fits.
KvConfig kv_config(const EngineOptions& options, const ModelConfig& model, int64_t memory);
// Throws InvalidArgument as Engine::add() says; `context` bounds prompt and output together.
void check_request(const Request& request, const ModelConfig& model, int64_t context);

// K and V of deeper layers depend on what was skipped below them: prefixes are shared only between
// requests of equal settings. (They also depend on where chunks ended, as λ does; that much a
// reused prefix may differ from a recomputed one. Dense prefixes do not.)
uint64_t prefix_salt(const Request& request);

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_ADMISSION_H_
