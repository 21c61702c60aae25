#include "kernels/cuda/smxx/top_candidates/launch.h"

#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/top_candidates/kernel.cuh"

namespace hopskip::cuda {
namespace {

// Lines of a CTA: as many as keep enough bytes on their way from memory, where rows give each SM of
// a large GPU several CTAs of them; else one, so that a single row reaches every SM.
constexpr int kManyLines = 4;
constexpr int64_t kManyCtas = 4 * 132;
constexpr int kFewGroups = 8;  // of a thread: 262,144 logits
constexpr int kManyGroups = kMostCandidateVocab / smxx::kGroup / smxx::kSelectThreads;

constexpr int32_t quotient_up(int32_t a, int32_t b) { return (a + b - 1) / b; }

int lines_of(int64_t rows, int32_t vocab) {
  return rows * quotient_up(vocab, kManyLines * smxx::kLine) >= kManyCtas ? kManyLines : 1;
}

int32_t chunks_of_row(int64_t rows, int32_t vocab) {
  return quotient_up(vocab, lines_of(rows, vocab) * smxx::kLine);
}

}  // namespace

int64_t top_candidates_scratch_bytes(int64_t rows, int32_t vocab) {
  return rows * (chunks_of_row(rows, vocab) * static_cast<int64_t>(sizeof(float2)) +
                 quotient_up(vocab, smxx::kGroup) * static_cast<int64_t>(sizeof(uint32_t)));
}

void launch_top_candidates(const TopCandidatesArgs& args, CudaStream stream) {
  if (args.rows == 0) {
    return;
  }
  const int32_t chunks = chunks_of_row(args.rows, args.vocab);
  auto* partials = static_cast<float2*>(args.scratch);
  const smxx::TopCandidatesScratch scratch{
      partials, reinterpret_cast<uint32_t*>(partials + args.rows * chunks), chunks,
      quotient_up(args.vocab, smxx::kGroup)};
  const bool lines = on_lines<float>(args.logits, args.stride);
  const auto scan = lines_of(args.rows, args.vocab) == 1 ? smxx::top_candidates_scan<1>
                                                         : smxx::top_candidates_scan<kManyLines>;
  launch_overlapped("top_candidates, scan", scan, dim3(static_cast<unsigned>(args.rows * chunks)),
                    smxx::kScanThreads, 0, stream, args, scratch, lines);
  const auto select = scratch.num_groups <= kFewGroups * smxx::kSelectThreads
                          ? smxx::top_candidates<kFewGroups>
                          : smxx::top_candidates<kManyGroups>;
  launch_overlapped("top_candidates", select, dim3(static_cast<unsigned>(args.rows)),
                    smxx::kSelectThreads, 0, stream, args, scratch);
}

}  // namespace hopskip::cuda
