// The one formula that both file formats need to resolve yarn's attention factor.
#ifndef HOPSKIP_WEIGHTS_ROPE_SCALING_H_
#define HOPSKIP_WEIGHTS_ROPE_SCALING_H_

#include <cmath>

namespace hopskip {

// YaRN (arXiv 2309.00071, section 3.4): 0.1 · weight · ln(factor) + 1, or 1 without an extension.
inline double yarn_mscale(double factor, double weight = 1.0) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

}  // namespace hopskip

#endif  // HOPSKIP_WEIGHTS_ROPE_SCALING_H_
