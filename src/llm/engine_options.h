// What LLMOptions mean to the layers below.
#ifndef HOPSKIP_LLM_ENGINE_OPTIONS_H_
#define HOPSKIP_LLM_ENGINE_OPTIONS_H_

#include <memory>

#include "engine/engine.h"
#include "hopskip/llm.h"
#include "kernels/backend.h"

namespace hopskip {

// Throws InvalidArgument for options that mean nothing, Unsupported where the device cannot be
// used.
std::unique_ptr<Backend> open_backend(const LLMOptions& options);
EngineOptions engine_options(const LLMOptions& options, const Backend& backend);

}  // namespace hopskip

#endif  // HOPSKIP_LLM_ENGINE_OPTIONS_H_
