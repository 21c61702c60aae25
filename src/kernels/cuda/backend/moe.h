// The mixture of experts of the CUDA backend: routing, sorting by expert, two grouped products
// and the weighted sum, without a word to the host in between.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_MOE_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_MOE_H_

#include <cstdint>
#include <optional>

#include "kernels/backend.h"
#include "kernels/cuda/backend/workspace.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/smxx/moe_permute/launch.h"

namespace hopskip::cuda {

class CudaMoe {
 public:
  // is_hopper: compute capability 9.0, which has kernels of its own.
  explicit CudaMoe(bool is_hopper) : is_hopper_(is_hopper) {}

  // To be called before the launch, also where nothing is launched: takes scratch from the
  // workspace, the same for all layers of a step. Throws OutOfMemory.
  void reserve(int64_t tokens, int64_t hidden, int64_t inner, int64_t experts, int64_t top_k,
               Workspace& workspace);
  // The workspace was reset.
  void forget_scratch() { scratch_.reset(); }

  // As Backend::moe(), which has checked the arguments; launches on `stream`.
  void operator()(Matrix x, Matrix router_logits, const ExpertWeights& w, const MoeRouting& routing,
                  Matrix residual, CudaStream stream) const;

  // Backend::norm_moe() in three launches, for so few tokens and an input that the norm's kernel
  // takes (linear.h).
  static bool takes_few(int64_t tokens);
  void few(const NormedInput& in, const Weight& router, Matrix logits, const ExpertWeights& w,
           const MoeRouting& routing, CudaStream stream) const;

 private:
  struct Sizes {
    int64_t tokens, hidden, inner, experts, top_k;
    bool operator==(const Sizes&) const = default;
  };
  struct Scratch {
    Sizes sizes;
    bool by_blocks;  // grouped_gemm; otherwise grouped_gemv
    int block_rows;  // an expert's rows begin at a multiple of this
    int64_t max_rows;
    int32_t* ids;    // [tokens][top_k]
    float* weights;  // [tokens][top_k]
    MoeLayout layout;
    Matrix gathered;  // [max_rows][hidden], by_blocks only: each row's token
    Matrix inner;     // [max_rows][inner]: silu(gate) · up
    Matrix down;      // [max_rows][hidden]
  };

  void multiply(const void* a, const int32_t* a_rows, int64_t a_stride, const Weight& w,
                const Weight* up, void* c, CudaStream stream) const;

  bool is_hopper_;
  std::optional<Scratch> scratch_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_MOE_H_
