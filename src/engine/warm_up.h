// How much memory a device has for the KV cache beside everything else.
#ifndef HOPSKIP_ENGINE_WARM_UP_H_
#define HOPSKIP_ENGINE_WARM_UP_H_

#include <cstdint>

#include "engine/engine.h"
#include "models/model.h"

namespace hopskip {

// Runs a step of the largest size, so that the backend has all memory that steps take, and gives
// what is left for pages (Backend::memory_for_kv()), bytes. 0, and nothing runs, where the size of
// the KV cache is given or the backend's memory is not to be used up. Throws OutOfMemory, and as
// the backend does for a model that it cannot run.
int64_t memory_beside_largest_step(Backend& backend, Model& model, const EngineOptions& options);

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_WARM_UP_H_
