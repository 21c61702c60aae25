#include "kernels/cuda/backend/kv_expansion.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace hopskip::cuda {

KvExpansion::KvExpansion(std::span<PlannedSequence> sequences, int page_size, int64_t scratch_pages)
    : page_size_(page_size) {
  std::vector<int64_t> scratch_page;  // where each sequence begins
  int64_t used = 0;                   // by the last run
  for (const PlannedSequence& s : sequences) {
    const int64_t count = (s.kv_len - 1) / page_size + 1;
    check(count <= scratch_pages, ErrorCode::kInvalidArgument,
          "a sequence of {} keys in a KV storage for sequences of up to {}", s.kv_len,
          scratch_pages * page_size);
    if (runs_.empty() || used + count > scratch_pages) {
      runs_.push_back({std::ssize(extents_), std::ssize(extents_)});
      used = 0;
    }
    ++runs_.back().end;
    scratch_page.push_back(used);
    used += count;
    extents_.push_back({std::ssize(pages_), count, s.kv_len - s.q_len});
    pages_.insert(pages_.end(), s.pages.begin(), s.pages.begin() + count);
  }
  scratch_.resize(std::min(std::ssize(pages_), scratch_pages));
  std::iota(scratch_.begin(), scratch_.end(), 0);
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].pages = std::span(scratch_).subspan(scratch_page[i], extents_[i].num_pages);
  }
}

std::vector<KvExpansion::Piece> KvExpansion::pieces(const SequenceRun& run, int64_t window,
                                                    int64_t key_span) const {
  std::vector<Piece> pieces;
  const int64_t first_of_run = extents_[run.begin].first_entry;
  for (int64_t i = run.begin; i < run.end; ++i) {
    const Extent& extent = extents_[i];
    const int64_t first_key =
        window > 0 ? std::max<int64_t>(0, extent.first_position + 1 - window) : 0;
    const int64_t hidden = first_key / key_span * key_span / page_size_;  // pages that none sees
    const Piece piece{extent.first_entry + hidden, extent.first_entry + hidden - first_of_run,
                      extent.num_pages - hidden};
    if (!pieces.empty() &&
        pieces.back().first_entry + pieces.back().num_pages == piece.first_entry) {
      pieces.back().num_pages += piece.num_pages;
    } else {
      pieces.push_back(piece);
    }
  }
  return pieces;
}

}  // namespace hopskip::cuda
