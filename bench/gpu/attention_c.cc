// hopskip::Attention behind C functions, for the ctypes of bench/gpu/library.py, which mirrors the
// structs below field by field. A function that fails returns null or 1; the message is then in
// hopskip_last_error() of the same thread.
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "hopskip/attention.h"

namespace {

thread_local std::string last_error;
thread_local std::string last_text;

template <typename Call>
int guarded(const Call& call) {
  try {
    call();
    return 0;
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an exception that is no std::exception";
  }
  return 1;
}

}  // namespace

extern "C" {

struct HopskipConfig {
  int32_t decode;  // 0: prefill
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t fp8;  // K and V in E4M3; 0: in BF16, as q and out always are
  int32_t causal;
  int32_t page_size;
  int32_t max_sequences;
  int64_t max_pages;
};

struct HopskipSequence {
  int64_t q_begin;
  int64_t q_len;
  int64_t kv_len;
  int64_t kv_begin;
  const int32_t* pages;  // host
  int64_t num_pages;
  double factor;
};

struct HopskipTensors {
  const void* q;
  void* out;
  const void* k;
  const void* v;
  hopskip::SkipCounts* counts;
  int64_t q_rows;
  int64_t kv_tokens;
  int64_t num_pages;
};

const char* hopskip_last_error() { return last_error.c_str(); }

hopskip::Attention* hopskip_attention_create(const HopskipConfig* c) {
  hopskip::Attention* attention = nullptr;
  guarded([&] {
    hopskip::AttentionConfig config;
    config.phase = c->decode ? hopskip::Phase::kDecode : hopskip::Phase::kPrefill;
    config.num_heads = c->num_heads;
    config.num_kv_heads = c->num_kv_heads;
    config.head_dim = c->head_dim;
    config.kv_type = c->fp8 ? hopskip::ScalarType::kF8E4M3 : hopskip::ScalarType::kBF16;
    config.causal = c->causal != 0;
    config.page_size = c->page_size;
    config.max_sequences = c->max_sequences;
    config.max_pages = c->max_pages;
    attention = new hopskip::Attention(config);
  });
  return attention;
}

void hopskip_attention_destroy(hopskip::Attention* attention) { delete attention; }

int hopskip_attention_plan(hopskip::Attention* attention, int64_t count,
                           const HopskipSequence* sequences, hopskip::CudaStream stream) {
  return guarded([&] {
    std::vector<hopskip::PlannedSequence> planned;
    for (int64_t i = 0; i < count; ++i) {
      const HopskipSequence& s = sequences[i];
      planned.push_back({.q_begin = s.q_begin,
                         .q_len = s.q_len,
                         .kv_len = s.kv_len,
                         .kv_begin = s.kv_begin,
                         .pages = {s.pages, static_cast<size_t>(s.num_pages)},
                         .factor = s.factor});
    }
    attention->plan(planned, stream);
  });
}

int hopskip_attention_run(const hopskip::Attention* attention, const HopskipTensors* t,
                          hopskip::CudaStream stream) {
  return guarded([&] {
    attention->run({.q = t->q,
                    .out = t->out,
                    .k = t->k,
                    .v = t->v,
                    .q_rows = t->q_rows,
                    .kv_tokens = t->kv_tokens,
                    .num_pages = t->num_pages,
                    .counts = t->counts},
                   stream);
  });
}

// Both valid until the next call of either on this thread; empty where it fails.
const char* hopskip_attention_kernel(const hopskip::Attention* attention) {
  last_text.clear();
  guarded([&] { last_text = attention->kernel(); });
  return last_text.c_str();
}

const char* hopskip_attention_tile_plan(const hopskip::Attention* attention) {
  last_text.clear();
  guarded([&] { last_text = attention->tile_plan(); });
  return last_text.c_str();
}

}  // extern "C"
