// What the fields of an AttentionConfig may be, independent of kernel and GPU.
#ifndef HOPSKIP_KERNELS_CUDA_CONFIG_CHECK_H_
#define HOPSKIP_KERNELS_CUDA_CONFIG_CHECK_H_

#include <string_view>

#include "attention/params.h"
#include "hopskip/attention.h"

namespace hopskip::cuda {

// Throws InvalidArgument naming the field and the way out.
void validate(const AttentionConfig& config);

// The part of a valid config that says what is computed; a scale of 0 becomes 1 / sqrt(head_dim).
AttentionShape shape_of(const AttentionConfig& config);

std::string_view scalar_name(ScalarType type);  // "bf16", "f16", "fp8"

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_CONFIG_CHECK_H_
