// What the engine accepts: options against the model, requests against both.
#ifndef HOPSKIP_ENGINE_ADMISSION_H_
#define HOPSKIP_ENGINE_ADMISSION_H_

#include <cstdint>
#include <string>

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
// The same with no more pages than fit `spare` bytes of the host's memory beside weights of
// `mapped` bytes that are read where their file is mapped; at least one. An eighth of the memory is
// the cache's in any case: weights that leave less come and go anyway.
KvConfig within(KvConfig config, int64_t spare, int64_t mapped);

// What bounds prompt + output of a request.
struct LengthLimit {
  int64_t tokens = 0;
  std::string what;     // "a KV cache of 4096 tokens"
  std::string way_out;  // "raise kv_tokens"; empty: there is none
  // To be told once the model is loaded: memory ends before the context that could be expected.
  // Empty: it does not.
  std::string notice;

  std::string too_long(int64_t tokens) const;  // of a prompt: what to say
};
// options: as given or resolved. kv_capacity: tokens that the KV cache holds. on_host: in the
// host's memory, not in that of a device.
LengthLimit length_limit(const EngineOptions& options, int64_t kv_capacity, int64_t max_position,
                         bool on_host);

// Throws InvalidArgument as Engine::add() says.
void check_request(const Request& request, const ModelConfig& model, const LengthLimit& limit);

// K and V of deeper layers depend on what was skipped below them: prefixes are shared only between
// requests of equal settings. (They also depend on where chunks ended, as λ does; that much a
// reused prefix may differ from a recomputed one. Dense prefixes do not.)
uint64_t prefix_salt(const Request& request);

}  // namespace hopskip

#endif  // HOPSKIP_ENGINE_ADMISSION_H_
