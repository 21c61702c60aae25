// The shapes that GPU attention is tested with besides those of attention_cases.h. A page size of 0
// means contiguous keys.
#ifndef HOPSKIP_TESTS_CASES_GPU_ATTENTION_CASES_H_
#define HOPSKIP_TESTS_CASES_GPU_ATTENTION_CASES_H_

#include <limits>
#include <vector>

#include "cases/attention_cases.h"

namespace hopskip::test {

// Seconds of GPU time for all; also what compute-sanitizer runs.
inline std::vector<AttentionCase> small_gpu_attention_cases() {
  constexpr Phase kDecode = Phase::kDecode;
  return {
      {"prefill", 4, 2, 128, {{200, 330}, {1, 1}, {65, 65}}},
      {"prefill_d64", 4, 2, 64, {{130, 330}}, 0, 0, false, true, 16},
      {"prefill_d256", 2, 1, 256, {{130, 330}}, 0, 0, false, true, 128},
      {"prefill_contiguous", 2, 1, 128, {{64, 64}, {90, 300}}, 0, 0, false, true, 0},
      {"prefill_window", 2, 1, 128, {{200, 500}}, 100},
      {"prefill_full", 2, 1, 128, {{70, 300}}, 0, 0, false, false},
      {"decode", 8, 2, 128, {{1, 700, kDecode}, {1, 1, kDecode}, {1, 65, kDecode}}},
      {"decode_d64", 6, 2, 64, {{1, 500, kDecode}}, 0, 0, false, true, 16},
      {"decode_d256", 2, 1, 256, {{1, 500, kDecode}}, 0, 0, false, true, 128},
      {"decode_contiguous", 4, 1, 128, {{1, 64, kDecode}, {1, 900, kDecode}}, 0, 0, false, true, 0},
      {"decode_window", 4, 2, 128, {{1, 900, kDecode}, {1, 90, kDecode}}, 100},
      {"decode_dense", 4, 2, 128, {{1, 500, kDecode}}, 0, 0, false, true, 64, 0.0},
  };
}

inline std::vector<AttentionCase> gpu_attention_cases() {
  constexpr Phase kDecode = Phase::kDecode;
  std::vector<AttentionCase> cases = {
      // Prefill: head dimensions, whole and broken tiles.
      {"gpu_d64", 4, 2, 64, {{384, 1024}}},
      {"gpu_d128", 4, 2, 128, {{384, 1024}}},
      {"gpu_d256", 4, 2, 256, {{384, 1024}}},
      {"gpu_group_8", 16, 2, 128, {{130, 600}}},
      {"gpu_ragged",
       8,
       2,
       128,
       {{1, 1}, {5, 5}, {64, 64}, {65, 1000}, {127, 127}, {128, 128}, {129, 700}, {1, 300}}},
      {"gpu_q_offset", 4, 2, 128, {{77, 1077}, {1, 1500}}},
      {"gpu_dense", 4, 2, 128, {{300, 700}}, 0, 0, false, true, 64, 0.0},
      // Windows from one key to more than there are.
      {"gpu_window_1", 2, 1, 128, {{200, 300}}, 1},
      {"gpu_window_63", 2, 1, 128, {{200, 900}}, 63},
      {"gpu_window_257", 4, 2, 128, {{300, 1500}}, 257},
      {"gpu_window_5000", 2, 1, 128, {{300, 700}}, 5000},
      {"gpu_full", 4, 2, 128, {{200, 900}, {33, 129}}, 0, 0, false, false},
      {"gpu_window_full", 2, 1, 128, {{150, 900}}, 200, 0, false, false},
      {"gpu_window_max_full",
       2,
       1,
       128,
       {{200, 200}},
       std::numeric_limits<int>::max(),
       0,
       false,
       false},
      {"gpu_full_d64", 4, 2, 64, {{200, 900}}, 0, 0, false, false},
      {"gpu_full_d256", 2, 1, 256, {{200, 900}}, 0, 0, false, false},
      {"gpu_prefill_near_threshold",
       4,
       1,
       128,
       {{200, 1000}, {64, 900}},
       0,
       0,
       false,
       true,
       64,
       300.0},
      {"gpu_prefill_stretches", 4, 2, 128, {{150, 2000}}, 0, 0, false, true, 64, 1, 128},
      // More work items than CTAs.
      {"gpu_many_items", 32, 32, 64, {{513, 513}, {300, 300}}},
      // Decode: head dimensions, many splits, batches.
      {"gpu_decode_d64", 8, 2, 64, {{1, 3000, kDecode}}},
      {"gpu_decode_d128", 8, 2, 128, {{1, 3000, kDecode}}},
      {"gpu_decode_d256", 8, 2, 256, {{1, 3000, kDecode}}},
      {"gpu_decode_long", 8, 1, 128, {{1, 40000, kDecode}}},
      {"gpu_decode_long_batch",
       8,
       2,
       128,
       {{1, 30000, kDecode}, {1, 7, kDecode}, {1, 12345, kDecode}, {1, 4096, kDecode}}},
      {"gpu_decode_full", 8, 2, 128, {{1, 900, kDecode}}, 0, 0, false, false},
      {"gpu_decode_window",
       8,
       2,
       128,
       {{1, 5000, kDecode}, {1, 100, kDecode}, {1, 1000, kDecode}, {1, 20000, kDecode}},
       1000},
      {"gpu_decode_window_1", 4, 2, 128, {{1, 500, kDecode}}, 1},
      {"gpu_decode_near_threshold",
       8,
       2,
       128,
       {{1, 4000, kDecode}, {1, 1000, kDecode}},
       0,
       0,
       false,
       true,
       64,
       1000.0},
      {"gpu_decode_stretches", 8, 2, 128, {{1, 6000, kDecode}}, 0, 0, false, true, 64, 1, 128},
  };
  for (const int page_size : {0, 16, 32, 64, 128}) {
    const std::string suffix = page_size == 0 ? "contiguous" : "pages_" + std::to_string(page_size);
    for (const int head_dim : {64, 128, 256}) {
      const std::string name = suffix + "_d" + std::to_string(head_dim);
      cases.push_back({"gpu_prefill_" + name,
                       4,
                       2,
                       head_dim,
                       {{130, 515}, {64, 64}},
                       0,
                       0,
                       false,
                       true,
                       page_size});
      cases.push_back({"gpu_decode_" + name,
                       8,
                       2,
                       head_dim,
                       {{1, 1515, kDecode}, {1, 128, kDecode}},
                       0,
                       0,
                       false,
                       true,
                       page_size});
    }
  }
  for (int group = 1; group <= 16; ++group) {
    cases.push_back({"gpu_decode_group_" + std::to_string(group),
                     2 * group,
                     2,
                     128,
                     {{1, 700, kDecode}, {1, 33, kDecode}, {1, 2000, kDecode}}});
  }
  AttentionCase batch{"gpu_decode_batch", 8, 2, 128, {}};
  for (int i = 0; i < 100; ++i) {
    batch.sequences.push_back({1, 1 + i * 97 % 1500, kDecode});
  }
  cases.push_back(batch);
  return cases;
}

// Too long to be checked as a whole: the tests check a sample of its row tiles.
inline AttentionCase long_gpu_prefill() {
  return {"gpu_rows_70000", 2, 1, 128, {{70000, 70000}}, 0, 0, false, true, 64, 10.0, 64};
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_CASES_GPU_ATTENTION_CASES_H_
