// How the prefill sequences of a step over an FP8 cache pass the scratch in BF16 that prefill
// attention reads.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_KV_EXPANSION_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_KV_EXPANSION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// Sequences [begin, end) of a phase that attention computes at once.
struct SequenceRun {
  int64_t begin = 0;
  int64_t end = 0;
};

// The pages of all sequences stand in one list, sequence by sequence. Those of a run of sequences,
// as many as the scratch holds, are copied to consecutive pages of it; the next run takes their
// place.
class KvExpansion {
 public:
  // Entries [first_entry, first_entry + num_pages) of the list go to the scratch from page
  // `scratch_page` on.
  struct Piece {
    int64_t first_entry = 0;
    int64_t scratch_page = 0;
    int64_t num_pages = 0;
  };

  // `sequences` stand in the order of the step and get the pages of the scratch that theirs are
  // copied to. Throws InvalidArgument for one that is longer than the scratch.
  KvExpansion(std::span<PlannedSequence> sequences, int page_size, int64_t scratch_pages);

  std::span<const int32_t> pages() const { return pages_; }  // of the cache
  std::span<const SequenceRun> runs() const { return runs_; }
  // What a run needs where a query sees `window` keys (0: all). Attention reads keys from a
  // multiple of key_span on.
  std::vector<Piece> pieces(const SequenceRun& run, int64_t window, int64_t key_span) const;

 private:
  struct Extent {
    int64_t first_entry;
    int64_t num_pages;
    int64_t first_position;  // of its queries
  };

  int page_size_;
  std::vector<int32_t> pages_;
  std::vector<Extent> extents_;  // of each sequence
  std::vector<SequenceRun> runs_;
  std::vector<int32_t> scratch_;  // 0, 1, 2, …: what the sequences' new pages are windows on
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_KV_EXPANSION_H_
