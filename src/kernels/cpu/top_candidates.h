// The largest logits of rows, and their sums of exponentials.
#ifndef HOPSKIP_KERNELS_CPU_TOP_CANDIDATES_H_
#define HOPSKIP_KERNELS_CPU_TOP_CANDIDATES_H_

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/simd/level.h"

namespace hopskip {

// As Backend::top_candidates().
void cpu_top_candidates(ThreadPool& pool, SimdLevel level, Matrix logits, Matrix out);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_TOP_CANDIDATES_H_
