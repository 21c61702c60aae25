// Rows of the embedding table become the residual stream.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_EMBED_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_EMBED_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

struct EmbedArgs {
  const int32_t* ids;  // [tokens], each < vocab
  const void* table;   // [vocab][hidden] BF16
  float* out;          // [tokens][hidden], rows out_stride elements apart
  int64_t tokens;
  int64_t hidden;
  int64_t out_stride;
};

void launch_embed(const EmbedArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_EMBED_LAUNCH_H_
