// The shapes that every attention kernel is tested with, and inputs for them.
#ifndef HOPSKIP_TESTS_CASES_ATTENTION_CASES_H_
#define HOPSKIP_TESTS_CASES_ATTENTION_CASES_H_

#include <cmath>
#include <cstdint>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "hopskip/types.h"

namespace hopskip::test {

struct SequenceCase {
  int64_t q_len;
  int64_t kv_len;
  Phase phase = Phase::kPrefill;
};

struct AttentionCase {
  std::string name;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  std::vector<SequenceCase> sequences;
  int window = 0;
  float softcap = 0.0f;
  bool sinks = false;
  bool causal = true;
  int page_size = 64;
  double factor = 1.0;  // threshold scale factor; 0: dense
  int stretch = 16;     // keys that are hot or cold together
};

// For the messages of GoogleTest.
inline void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.name; }

inline std::vector<AttentionCase> attention_cases() {
  constexpr Phase kDecode = Phase::kDecode;
  return {
      // Regular.
      {"prefill_d64", 6, 2, 64, {{256, 256}}},
      {"prefill_d128", 4, 1, 128, {{256, 256}}},
      {"prefill_dense", 3, 1, 64, {{320, 320}}, 0, 0, false, true, 64, 0.0},
      {"prefill_long", 3, 1, 64, {{64, 1100}}},
      {"decode_d64", 9, 3, 64, {{1, 1024, kDecode}}},
      {"decode_d128", 8, 2, 128, {{1, 1536, kDecode}}},
      {"decode_dense", 9, 3, 64, {{1, 700, kDecode}}, 0, 0, false, true, 64, 0.0},
      // Irregular lengths, page edges.
      {"prefill_ragged_tail", 4, 2, 64, {{133, 133}}},
      {"chunk_unaligned", 4, 2, 64, {{77, 390}}},
      {"chunk_last_row_alone", 2, 1, 64, {{17, 401}}},
      {"page_edge_before", 2, 1, 64, {{63, 63}}},
      {"page_edge_at", 2, 1, 64, {{64, 64}}},
      {"page_edge_after", 2, 1, 64, {{65, 65}}},
      {"small_pages", 2, 2, 64, {{90, 200}, {1, 77, kDecode}}, 0, 0, false, true, 16},
      {"odd_pages", 2, 2, 64, {{90, 200}, {1, 300, kDecode}}, 0, 0, false, true, 48},
      {"decode_split_edge", 3, 1, 64, {{1, 512, kDecode}, {1, 513, kDecode}, {1, 511, kDecode}}},
      // Length 1, one valid row.
      {"one_token", 2, 1, 64, {{1, 1}}},
      {"one_token_decode", 2, 1, 64, {{1, 1, kDecode}}},
      {"one_row_prefill", 4, 2, 64, {{1, 300}}},
      // Groups.
      {"mha", 3, 3, 64, {{70, 300}, {1, 300, kDecode}}},
      {"group_2", 2, 1, 64, {{40, 300}, {1, 300, kDecode}}},
      {"group_5", 5, 1, 64, {{40, 300}, {1, 300, kDecode}}},
      {"group_7", 7, 1, 64, {{40, 300}, {3, 300, kDecode}}},
      {"group_16", 16, 1, 64, {{40, 300}, {2, 300, kDecode}}},
      // Head dimensions.
      {"d16", 2, 1, 16, {{40, 300}, {1, 300, kDecode}}},
      {"d48", 2, 1, 48, {{40, 300}, {1, 300, kDecode}}},
      {"d80", 2, 1, 80, {{40, 300}, {1, 300, kDecode}}},
      {"d96", 2, 1, 96, {{40, 300}, {1, 300, kDecode}}},
      {"d256", 2, 1, 256, {{40, 300}, {1, 300, kDecode}}},
      // Masks, soft-cap, sinks.
      {"full", 4, 2, 64, {{50, 300}, {2, 300, kDecode}}, 0, 0, false, false},
      {"window", 4, 2, 64, {{300, 700}, {1, 700, kDecode}, {4, 650, kDecode}}, 129},
      {"window_1", 2, 1, 64, {{40, 90}, {1, 90, kDecode}}, 1},
      {"window_full", 2, 1, 64, {{40, 300}, {3, 300, kDecode}}, 100, 0, false, false},
      {"softcap", 4, 2, 64, {{100, 400}, {1, 400, kDecode}}, 0, 30.0f},
      {"sinks", 4, 2, 64, {{100, 400}, {2, 400, kDecode}}, 0, 0, true},
      {"everything", 6, 2, 64, {{90, 500}, {2, 470, kDecode}}, 200, 30.0f, true},
      // λ near 1: random scores on both sides of the threshold, where a vote is hardest to get
      // right.
      {"near_threshold",
       8,
       2,
       64,
       {{1, 1024, kDecode}, {3, 1000, kDecode}, {1, 900}, {18, 900}},
       0,
       0,
       false,
       true,
       64,
       300.0},
      // Batches.
      {"long_stretches", 6, 2, 64, {{40, 1100}, {3, 1100, kDecode}}, 0, 0, false, true, 64, 1, 128},
      {"ragged_batch",
       6,
       2,
       64,
       {{1, 300, kDecode}, {33, 33}, {1, 17, kDecode}, {100, 250}, {5, 5}, {8, 200, kDecode}}},
  };
}

// One sequence's q [q_len][num_heads][head_dim] and k, v [kv_len][num_kv_heads][head_dim].
struct AttentionData {
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> v;
};

// Random values with structure: a bias dimension puts stretches of keys `cold` nats lower, at
// random places of every head. Stretches are multiples of `stretch` keys; a share `cold_share` of
// them is cold, the first never is. `round` rounds a value to what the kernel stores.
template <typename Round>
AttentionData make_attention_data(int64_t q_len, int64_t kv_len, int num_heads, int num_kv_heads,
                                  int head_dim, float scale, int stretch, double cold_share,
                                  float cold, std::mt19937_64& random, Round round) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<double> uniform;
  AttentionData data;
  data.q.resize(q_len * num_heads * head_dim);
  data.k.resize(kv_len * num_kv_heads * head_dim);
  data.v.resize(kv_len * num_kv_heads * head_dim);
  for (std::vector<float>* values : {&data.q, &data.k, &data.v}) {
    for (float& value : *values) {
      value = round(normal(random));
    }
  }
  // q[0] · k[0] · scale = −cold
  const float bias = std::sqrt(cold / scale);
  for (int64_t i = 0; i < q_len * num_heads; ++i) {
    data.q[i * head_dim] = round(bias);
  }
  for (int head = 0; head < num_kv_heads; ++head) {
    for (int64_t begin = 0; begin < kv_len; begin += stretch) {
      const bool is_cold = uniform(random) < cold_share && begin > 0;
      for (int64_t key = begin; key < std::min<int64_t>(kv_len, begin + stretch); ++key) {
        data.k[(key * num_kv_heads + head) * head_dim] = is_cold ? round(-bias) : 0.0f;
      }
    }
  }
  return data;
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_CASES_ATTENTION_CASES_H_
