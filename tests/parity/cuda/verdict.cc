// The reference's verdict on a GPU result. A sequence is judged in pieces, one head tile and a few
// row tiles each, on all cores: fp64 is slow.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "attention/skip_rule.h"
#include "base/float16.h"
#include "base/thread_pool.h"
#include "parity/cuda/gpu_problem.h"
#include "support/attention_check.h"

namespace hopskip::test {
namespace {

constexpr int64_t kPieceRows = 128;

// Rows [row_begin, row_end) of one head tile of one sequence.
struct Piece {
  size_t sequence;
  int64_t head_tile;
  int64_t row_begin;
  int64_t row_end;
};

struct Verdict {
  MapCheck map;
  double error = 0.0;
  double naive_error = 0.0;
  double lse_error = 0.0;
  double largest = 0.0;  // |output|
  double band = 0.0;

  void add(const Verdict& other) {
    const auto worse = [](double a, double b) { return b <= a ? a : b; };  // NaN sticks
    map += other.map;
    error = worse(error, other.error);
    naive_error = worse(naive_error, other.naive_error);
    lse_error = worse(lse_error, other.lse_error);
    largest = std::max(largest, other.largest);
    band = std::max(band, other.band);
  }
};

float round_to(ScalarType type, float value) {
  return type == ScalarType::kBF16 ? static_cast<float>(bf16(value))
                                   : static_cast<float>(fp16(value));
}

float out_value(const Problem& p, const GpuResult& result, int64_t row, int64_t column) {
  const uint16_t bits = result.out[row * p.q_row_stride() + column];
  if (p.config.q_type == ScalarType::kBF16) {
    bf16 value;
    value.bits = bits;
    return static_cast<float>(value);
  }
  fp16 value;
  value.bits = bits;
  return static_cast<float>(value);
}

// The skip map of a sequence as the kernel wrote it.
SkipMap gpu_map(const Attention& attention, const Problem& p, const GpuResult& result,
                const TilePlan& plan, size_t i) {
  SkipMap map(p.shape, plan, p.cases[i].q_len, p.cases[i].kv_len);
  const auto begin = result.skip_map.begin() + attention.skip_map_offset(static_cast<int64_t>(i));
  std::transform(begin, begin + std::ssize(map.states), map.states.begin(),
                 [](uint8_t state) { return static_cast<TileState>(state); });
  return map;
}

// A causal row sees the same keys in a sequence that ends with it, so its piece is a sequence of
// its own.
class PieceJudge {
 public:
  PieceJudge(const Problem& problem, const GpuResult& result, const TilePlan& plan,
             const std::vector<SkipMap>& maps, std::optional<float> threshold)
      : p_(problem), result_(result), plan_(plan), maps_(maps), threshold_(threshold) {}

  Verdict judge(const Piece& piece) const {
    const SequenceCase& s = p_.cases[piece.sequence];
    const AttentionData& data = p_.data[piece.sequence];
    const int d = p_.config.head_dim;
    const int heads = plan_.heads;
    const int64_t first_head = piece.head_tile * heads;
    const int64_t kv_head = first_head / p_.shape.group();
    AttentionShape shape = p_.shape;
    shape.num_heads = heads;
    shape.num_kv_heads = 1;
    const int64_t rows = piece.row_end - piece.row_begin;
    const int64_t kv_len = s.kv_len - s.q_len + piece.row_end;
    const auto gather = [&](const std::vector<float>& from, int64_t all_heads, int64_t head,
                            int64_t count, int64_t row, int64_t num_rows) {
      std::vector<float> to(num_rows * count * d);
      for (int64_t i = 0; i < num_rows; ++i) {
        std::copy_n(&from[((row + i) * all_heads + head) * d], count * d, &to[i * count * d]);
      }
      return to;
    };
    const std::vector<float> q =
        gather(data.q, p_.config.num_heads, first_head, heads, piece.row_begin, rows);
    const std::vector<float> k = gather(data.k, p_.config.num_kv_heads, kv_head, 1, 0, kv_len);
    const std::vector<float> v = gather(data.v, p_.config.num_kv_heads, kv_head, 1, 0, kv_len);
    const ReferenceInput input{shape, rows, kv_len, q.data(), k.data(), v.data()};
    // A head tile of a piece has a group of its own size.
    const TilePlan& plan = plan_;
    const double threshold =
        threshold_.value_or(skip_threshold_log2(p_.sequences[piece.sequence].factor, s.kv_len));
    ReferenceOutput want = reference_attention(input, plan, threshold);

    Verdict verdict;
    SkipMap map = want.map;
    const SkipMap& whole = maps_[piece.sequence];
    for (int64_t row = 0; row < map.row_tiles; ++row) {
      for (int64_t key = 0; key < map.key_tiles; ++key) {
        map.at(0, row, key) = whole.at(piece.head_tile, piece.row_begin / plan.rows + row, key);
      }
      for (int64_t key = map.key_tiles; key < whole.key_tiles; ++key) {  // beyond the piece
        verdict.map.wrong += whole.at(piece.head_tile, piece.row_begin / plan.rows + row, key) !=
                             TileState::kInvisible;
      }
    }
    verdict.band = rounding_band(input);
    verdict.map += check_map(map, want, verdict.band);
    if (map.states != want.map.states) {
      want = reference_attention(input, plan, threshold, &map);
    }
    const bool fp8 = p_.config.kv_type == ScalarType::kF8E4M3;
    const ScalarType weights = fp8 ? ScalarType::kF16 : p_.config.q_type;
    const std::vector<float> naive = naive_attention(
        input, plan, map, [&](float weight) { return round_to(weights, weight); },
        [&](float value) { return round_to(p_.config.q_type, value); });
    verdict.naive_error = worst_difference(naive, want.out);
    std::vector<float> out(want.out.size());
    std::vector<float> lse(want.lse.size());
    for (int64_t i = 0; i < rows * heads; ++i) {
      const int64_t row = p_.sequences[piece.sequence].q_begin + piece.row_begin + i / heads;
      const int64_t head = first_head + i % heads;
      lse[i] = result_.lse[row * p_.config.num_heads + head];
      for (int x = 0; x < d; ++x) {
        out[i * d + x] = out_value(p_, result_, row, head * d + x);
      }
    }
    verdict.error = worst_difference(out, want.out);
    verdict.lse_error = worst_difference(lse, want.lse);
    for (const double value : want.out) {
      verdict.largest = std::max(verdict.largest, std::abs(value));
    }
    return verdict;
  }

 private:
  const Problem& p_;
  const GpuResult& result_;
  const TilePlan& plan_;
  const std::vector<SkipMap>& maps_;
  const std::optional<float> threshold_;
};

// Row tiles of a sequence that are judged.
std::vector<int64_t> sampled_tiles(int64_t row_tiles, int sample_tiles) {
  std::vector<int64_t> tiles;
  if (sample_tiles == 0 || row_tiles <= sample_tiles) {
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      tiles.push_back(tile);
    }
    return tiles;
  }
  std::mt19937_64 random(static_cast<uint64_t>(row_tiles));
  tiles = {0, row_tiles - 1};
  while (std::ssize(tiles) < sample_tiles) {
    tiles.push_back(std::uniform_int_distribution<int64_t>(1, row_tiles - 2)(random));
  }
  return tiles;
}

std::vector<Piece> cut(const Problem& p, const TilePlan& plan, int sample_tiles) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < p.cases.size(); ++i) {
    const int64_t q_len = p.cases[i].q_len;
    for (int64_t head_tile = 0; head_tile < p.config.num_heads / plan.heads; ++head_tile) {
      if (!p.config.causal) {
        pieces.push_back({i, head_tile, 0, q_len});
        continue;
      }
      if (sample_tiles > 0) {
        for (const int64_t tile :
             sampled_tiles((q_len + plan.rows - 1) / plan.rows, sample_tiles)) {
          pieces.push_back(
              {i, head_tile, tile * plan.rows, std::min(q_len, (tile + 1) * plan.rows)});
        }
        continue;
      }
      const int64_t step = (kPieceRows + plan.rows - 1) / plan.rows * plan.rows;
      for (int64_t row = 0; row < q_len; row += step) {
        pieces.push_back({i, head_tile, row, std::min(q_len, row + step)});
      }
    }
  }
  return pieces;
}

// Rows, gaps and logarithms that belong to no sequence keep their poison.
int64_t touched_poison(const Problem& p, const GpuResult& result) {
  std::vector<bool> owned(p.q_rows, false);
  for (const PlannedSequence& s : p.sequences) {
    std::fill_n(owned.begin() + s.q_begin, s.q_len, true);
  }
  const int64_t columns = int64_t{p.config.num_heads} * p.config.head_dim;
  int64_t touched = 0;
  for (int64_t row = 0; row < p.q_rows; ++row) {
    for (int64_t column = owned[row] ? columns : 0; column < p.q_row_stride(); ++column) {
      touched += result.out[row * p.q_row_stride() + column] != 0xffff;
    }
    for (int head = 0; head < p.config.num_heads && !owned[row]; ++head) {
      touched += !std::isnan(result.lse[row * p.config.num_heads + head]);
    }
  }
  return touched;
}

}  // namespace

uint64_t expect_parity(const Attention& attention, const Problem& p, const GpuResult& result,
                       int sample_tiles, std::optional<float> threshold) {
  const TilePlan plan = parse_tile_plan(attention.tile_plan());
  std::vector<SkipMap> maps;
  for (size_t i = 0; i < p.cases.size(); ++i) {
    maps.push_back(gpu_map(attention, p, result, plan, i));
  }
  EXPECT_EQ(touched_poison(p, result), 0) << "wrote where nothing belongs to a sequence";

  const std::vector<Piece> pieces = cut(p, plan, sample_tiles);
  const PieceJudge judge(p, result, plan, maps, threshold);
  std::vector<Verdict> verdicts(pieces.size());
  ThreadPool pool;
  pool.parallel_for(std::ssize(pieces),
                    [&](int64_t i, int) { verdicts[i] = judge.judge(pieces[i]); });

  uint64_t skipped = 0;
  for (size_t i = 0; i < p.cases.size(); ++i) {
    SCOPED_TRACE(
        fmt::format("sequence {} of {} rows and {} keys", i, p.cases[i].q_len, p.cases[i].kv_len));
    Verdict all;
    for (size_t piece = 0; piece < pieces.size(); ++piece) {
      if (pieces[piece].sequence == i) {
        all.add(verdicts[piece]);
      }
    }
    const int64_t tiles = std::ssize(maps[i].states);
    EXPECT_EQ(all.map.wrong, 0) << "of " << tiles << " tiles, band " << all.band;
    // At λ = 1 the tile of the maximum is on the threshold.
    if (threshold.value_or(skip_threshold_log2(p.sequences[i].factor, p.cases[i].kv_len)) < 0.0f) {
      EXPECT_LE(all.map.excused, 1 + tiles / 200) << "the rounding band excuses too much";
    }
    // No result in the output's type is nearer than half a unit in its last place: 8 or 11 bits.
    int exponent = 0;
    std::frexp(all.largest, &exponent);
    const double half_unit =
        std::ldexp(0.5, exponent - (p.config.q_type == ScalarType::kBF16 ? 8 : 11));
    EXPECT_LE(all.error, 2.0 * all.naive_error + half_unit)
        << "naive error " << all.naive_error << ", outputs up to " << all.largest;
    // Sums of float weights, each off by its score's error and exp2's 2^-22.
    EXPECT_LE(all.lse_error, 2e-5 + all.band);

    for (int head = 0; head < p.config.num_heads; ++head) {
      SkipCounts counts = counts_of_head(maps[i], plan, head);
      skipped += counts.skipped;
      counts += kInitialCounts;
      EXPECT_EQ(result.counts[i * p.config.num_heads + head], counts) << "head " << head;
    }
  }
  return skipped;
}

}  // namespace hopskip::test
