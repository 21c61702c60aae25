// The matrix products of a prefill warpgroup: batches of wgmma, started and committed here, waited
// for by the caller.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_PRODUCTS_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_PRODUCTS_CUH_

#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/ptx/sm90.cuh"
#include "kernels/cuda/ptx/wgmma.cuh"
#include "kernels/cuda/sm90/attention_prefill/config.h"
#include "kernels/cuda/sm90/attention_prefill/types.cuh"

namespace hopskip::cuda::sm90 {

template <typename T, int kHeadDim>
struct PrefillProducts {
  using Types = PrefillTypes<T, kHeadDim>;
  static constexpr int kKeys = Types::kKeys;
  static constexpr int kSlices = Types::kSlices;
  static_assert(kSlices <= 8);      // two subsets of four
  using Scores = float[kKeys / 2];  // of one thread; packed weights of slice i from [8 i] on
  using Output = float[kHeadDim / 2];

  // r_s = Q · Kᵀ; q, k: descriptors of the warpgroup's rows and of the tile.
  static __device__ void start_scores(Scores& r_s, uint64_t q, uint64_t k) {
    ptx::wgmma_fence();
    HOPSKIP_UNROLL
    for (int step = 0; step < kHeadDim / 16; ++step) {
      const int in_panel = step % 4 * 32;
      const uint64_t a = ptx::advance(q, step / 4 * Types::kPanelBytesQ + in_panel);
      const uint64_t b = ptx::advance(k, step / 4 * Types::kPanelBytesKv + in_panel);
      if (step == 0) {
        ptx::wgmma_ss<T, kKeys, false>(r_s, a, b);
      } else {
        ptx::wgmma_ss<T, kKeys, true>(r_s, a, b);
      }
    }
    ptx::wgmma_commit();
  }

  // r_o += P · V of all slices; v: descriptor of the tile.
  static __device__ void add_all(Output& r_o, const Scores& r_s, uint64_t v) {
    add_slices<0, kSlices, Types::kAllSlices>(r_o, r_s, v);
  }

  // r_o += P · V of the slices in `wanted`.
  static __device__ void add_wanted(Output& r_o, const Scores& r_s, uint64_t v, uint32_t wanted) {
    add_subset<0>(r_o, r_s, v, wanted & 15);
    if constexpr (kSlices > 4) {
      add_subset<4>(r_o, r_s, v, wanted >> 4);
    }
  }

 private:
  template <int kFirst, int kCount, uint32_t kSubset>
  static __device__ void add_slices(Output& r_o, const Scores& r_s, uint64_t v) {
    ptx::wgmma_fence();
    HOPSKIP_UNROLL
    for (int i = kFirst; i < kFirst + kCount; ++i) {
      if ((kSubset >> (i - kFirst) & 1) != 0) {
        const uint32_t a[4] = {__float_as_uint(r_s[8 * i]), __float_as_uint(r_s[8 * i + 1]),
                               __float_as_uint(r_s[8 * i + 2]), __float_as_uint(r_s[8 * i + 3])};
        ptx::wgmma_rs<T, kHeadDim>(r_o, a, ptx::advance(v, i * kPrefillSliceKeys * 128));
      }
    }
    ptx::wgmma_commit();
  }

  // Of four slices those in `subset`. A branch for each slice would end wgmma's batch four times;
  // so each subset has code of its own, and one jump leads there.
  template <int kFirst>
  static __device__ void add_subset(Output& r_o, const Scores& r_s, uint64_t v, uint32_t subset) {
    switch (subset) {
      case 1:
        return add_slices<kFirst, 4, 1>(r_o, r_s, v);
      case 2:
        return add_slices<kFirst, 4, 2>(r_o, r_s, v);
      case 3:
        return add_slices<kFirst, 4, 3>(r_o, r_s, v);
      case 4:
        return add_slices<kFirst, 4, 4>(r_o, r_s, v);
      case 5:
        return add_slices<kFirst, 4, 5>(r_o, r_s, v);
      case 6:
        return add_slices<kFirst, 4, 6>(r_o, r_s, v);
      case 7:
        return add_slices<kFirst, 4, 7>(r_o, r_s, v);
      case 8:
        return add_slices<kFirst, 4, 8>(r_o, r_s, v);
      case 9:
        return add_slices<kFirst, 4, 9>(r_o, r_s, v);
      case 10:
        return add_slices<kFirst, 4, 10>(r_o, r_s, v);
      case 11:
        return add_slices<kFirst, 4, 11>(r_o, r_s, v);
      case 12:
        return add_slices<kFirst, 4, 12>(r_o, r_s, v);
      case 13:
        return add_slices<kFirst, 4, 13>(r_o, r_s, v);
      case 14:
        return add_slices<kFirst, 4, 14>(r_o, r_s, v);
      case 15:
        return add_slices<kFirst, 4, 15>(r_o, r_s, v);
    }
  }
};

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_PRODUCTS_CUH_
