// Plain data that every layer and every user of the library shares.
#ifndef HOPSKIP_TYPES_H_
#define HOPSKIP_TYPES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hopskip {

// Prefill steps process the prompt (many query tokens at once), decode steps one new token each.
enum class Phase : uint8_t { kPrefill, kDecode };
inline constexpr std::array<Phase, 2> kPhases{Phase::kPrefill, Phase::kDecode};

inline std::string_view phase_name(Phase phase) {
  return phase == Phase::kPrefill ? "prefill" : "decode";
}

// One value for each phase.
template <typename T>
struct PerPhase {
  T prefill{};
  T decode{};

  T& operator[](Phase phase) { return phase == Phase::kPrefill ? prefill : decode; }
  const T& operator[](Phase phase) const { return phase == Phase::kPrefill ? prefill : decode; }
  bool operator==(const PerPhase&) const = default;
};

// How sparse attention shall be. At most one of the two is set; neither means dense attention.
struct SkipSoftmaxConfig {
  // f ≥ 0 in λ = f / L, L = keys of the sequence at that step; 0 is dense.
  std::optional<PerPhase<double>> threshold_scale_factor;
  // Share of visible tiles to skip, 0…1; a profile turns it into a factor.
  std::optional<PerPhase<double>> target_sparsity;
};

// Voting tiles in which at least one row sees a key, and how many of those were skipped.
struct SkipCounts {
  uint64_t tiles = 0;
  uint64_t skipped = 0;

  SkipCounts& operator+=(const SkipCounts& other) {
    tiles += other.tiles;
    skipped += other.skipped;
    return *this;
  }
  double sparsity() const {
    return tiles == 0 ? 0.0 : static_cast<double>(skipped) / static_cast<double>(tiles);
  }
  bool operator==(const SkipCounts&) const = default;
};

}  // namespace hopskip

#endif  // HOPSKIP_TYPES_H_
