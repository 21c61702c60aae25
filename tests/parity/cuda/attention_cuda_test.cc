// Every GPU attention kernel of this machine against the fp64 reference. Without a GPU all tests
// are skipped. --gtest_filter='Small*' is what compute-sanitizer runs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "attention/skip_rule.h"
#include "cases/gpu_attention_cases.h"
#include "parity/cuda/gpu_problem.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

using test::AttentionCase;
using test::GpuProblem;
using test::GpuResult;
using test::Layout;
using test::Problem;
using test::ProblemOptions;
using test::run_once;

// Why nothing here can run; empty where a GPU is.
std::string why_no_gpu() {
  if (!list_gpus().empty()) {
    return "";
  }
  const std::vector<AttentionCandidate> candidates =
      attention_candidates({.num_heads = 1, .num_kv_heads = 1, .head_dim = 64});
  return candidates.empty() ? "no GPU" : candidates.front().why_not;
}

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string why = why_no_gpu();
    if (!why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  // Fresh inputs in every run; the printed seed repeats them.
  const uint64_t seed_ = std::random_device{}();
};

struct Types {
  ScalarType q;
  ScalarType kv;
};

std::vector<Types> types_of(Phase phase) {
  std::vector<Types> types = {{ScalarType::kBF16, ScalarType::kBF16},
                              {ScalarType::kF16, ScalarType::kF16}};
  if (phase == Phase::kDecode) {
    types.push_back({ScalarType::kBF16, ScalarType::kF8E4M3});
    types.push_back({ScalarType::kF16, ScalarType::kF8E4M3});
  }
  return types;
}

std::string describe(const AttentionCase& c, const ProblemOptions& options) {
  const auto name = [](ScalarType type) {
    return type == ScalarType::kBF16 ? "bf16" : type == ScalarType::kF16 ? "f16" : "fp8";
  };
  return fmt::format("{} on {}, q {}, kv {}, {} layout, seed {}", c.name, options.kernel,
                     name(options.q_type), name(options.kv_type),
                     options.layout == Layout::kDense ? "dense" : "heads-first", options.seed);
}

bool has_phase(const AttentionCase& c, Phase phase) {
  return std::ranges::any_of(c.sequences, [&](const test::SequenceCase& s) {
    return s.phase == phase && (phase == Phase::kPrefill || s.q_len == 1);
  });
}

// What the library promises on a Hopper GPU; elsewhere its kernels may be fewer.
bool is_promised(const AttentionCase& c, Phase phase) {
  return (c.head_dim == 64 || c.head_dim == 128 || c.head_dim == 256) && c.page_size != 48 &&
         (phase == Phase::kPrefill || c.num_heads / c.num_kv_heads <= 16);
}

// Calls visit(options) for each kernel that can run the case; each other kernel must refuse it with
// the reason that it gives as a candidate. Returns how many can.
template <typename Visit>
int for_kernels(const AttentionCase& c, Phase phase, ProblemOptions options, Visit visit) {
  int can = 0;
  options.kernel.clear();
  for (const AttentionCandidate& candidate : attention_candidates(config_of(c, phase, options))) {
    options.kernel = candidate.name;
    SCOPED_TRACE(describe(c, options));
    if (candidate.why_not.empty()) {
      ++can;
      visit(options);
    } else if (c.page_size == 48) {
      EXPECT_ERROR(ErrorCode::kInvalidArgument, "page_size is 48",
                   Attention(config_of(c, phase, options)));
    } else {
      EXPECT_ERROR(ErrorCode::kUnsupported, candidate.why_not,
                   Attention(config_of(c, phase, options)));
    }
  }
  return can;
}

class AttentionParity : public testing::WithParamInterface<AttentionCase>, public GpuTest {
 protected:
  void check_phase(Phase phase) {
    const AttentionCase& c = GetParam();
    for (const Types& types : types_of(phase)) {
      for (const Layout layout : {Layout::kDense, Layout::kHeadsFirst}) {
        const ProblemOptions options{types.q, types.kv, layout, seed_};
        const int can = for_kernels(c, phase, options,
                                    [&](const ProblemOptions& o) { check_kernel(phase, o); });
        if (is_promised(c, phase) && list_gpus().front().compute_capability == 90) {
          EXPECT_GT(can, 0) << c.name << ": no kernel runs what is promised";
        } else if (!is_promised(c, phase)) {
          EXPECT_EQ(can, 0) << c.name << ": a kernel runs what is said to be unsupported";
        }
      }
    }
  }

  void check_kernel(Phase phase, const ProblemOptions& options) {
    const AttentionCase& c = GetParam();
    const Problem problem = make_problem(c, phase, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const GpuResult first = run_once(attention, problem, gpu);
    const uint64_t skipped = expect_parity(attention, problem, first);
    // The second run finds every counter as the first did.
    EXPECT_TRUE(first == run_once(attention, problem, gpu)) << "two runs differ";
    const bool has_cold =
        std::ranges::any_of(problem.cases, [](const auto& s) { return s.kv_len >= 256; });
    if (c.factor == 0.0) {
      EXPECT_EQ(skipped, 0u);
    } else if (has_cold && (c.window == 0 || c.window >= 128)) {
      EXPECT_GT(skipped, 0u) << "nothing was skipped, so nothing was tested";
    }
  }
};

TEST_P(AttentionParity, MatchesReference) {
  for (const Phase phase : kPhases) {
    if (has_phase(GetParam(), phase)) {
      check_phase(phase);
    }
  }
}

std::vector<AttentionCase> all_cases() {
  std::vector<AttentionCase> cases = test::gpu_attention_cases();
  for (const AttentionCase& c : test::attention_cases()) {
    if (c.softcap == 0.0f && !c.sinks) {  // the GPU library has neither
      cases.push_back(c);
    }
  }
  return cases;
}

const auto case_name = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Small, AttentionParity,
                         testing::ValuesIn(test::small_gpu_attention_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Cases, AttentionParity, testing::ValuesIn(all_cases()), case_name);

class AttentionLong : public GpuTest {};

// 70,000 rows, of which some tiles are checked.
TEST_F(AttentionLong, SampledRowsMatchReference) {
  constexpr int kSampledTiles = 6;
  const AttentionCase c = test::long_gpu_prefill();
  for_kernels(c, Phase::kPrefill, {.seed = seed_}, [&](const ProblemOptions& options) {
    const Problem problem = make_problem(c, Phase::kPrefill, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const GpuResult result = run_once(attention, problem, gpu);
    EXPECT_GT(expect_parity(attention, problem, result, kSampledTiles), 0u);
  });
}

// What holds for every kernel, tried on a few cases.
class SmallAttention : public GpuTest {
 protected:
  // Calls visit(case, phase, options of a kernel).
  template <typename Visit>
  void for_all(Visit visit) {
    for (const AttentionCase& c : test::small_gpu_attention_cases()) {
      const Phase phase = c.sequences.front().phase;
      for_kernels(c, phase, {.seed = seed_},
                  [&](const ProblemOptions& options) { visit(c, phase, options); });
    }
  }
};

TEST_F(SmallAttention, DenseIsBitIdenticalToSkippingNothing) {
  for_all([&](const AttentionCase& c, Phase phase, const ProblemOptions& options) {
    AttentionCase dense = c;
    dense.factor = 0.0;
    Problem problem = make_problem(dense, phase, options);
    problem.config.scale = 0.5f;  // steep: running maxima and what is relative to them move often
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const GpuResult by_factor = run_once(attention, problem, gpu);
    EXPECT_TRUE(by_factor == run_once(attention, problem, gpu, -1e30f));
    EXPECT_TRUE(by_factor == run_once(attention, problem, gpu, kDenseThresholdLog2));
    EXPECT_TRUE(by_factor == run_once(attention, problem, gpu, std::nanf("")));
  });
}

TEST_F(SmallAttention, ThresholdsOfACallReplaceThePlansFactors) {
  for_all([&](const AttentionCase& c, Phase phase, const ProblemOptions& options) {
    const Problem problem = make_problem(c, phase, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    for (const float threshold : {-20.0f, -6.0f, 0.0f}) {
      expect_parity(attention, problem, run_once(attention, problem, gpu, threshold), 0, threshold);
    }
    EXPECT_TRUE(run_once(attention, problem, gpu, 0.0f) == run_once(attention, problem, gpu, 5.0f))
        << "a threshold above 0 is clamped";
  });
}

TEST_F(SmallAttention, RepeatsBitForBit) {
  for_all([&](const AttentionCase& c, Phase phase, const ProblemOptions& options) {
    const Problem problem = make_problem(c, phase, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const GpuResult first = run_once(attention, problem, gpu);
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(first == run_once(attention, problem, gpu));
    }
  });
}

// Without the optional outputs the others stay the same.
TEST_F(SmallAttention, OptionalOutputsAreOptional) {
  for_all([&](const AttentionCase& c, Phase phase, const ProblemOptions& options) {
    const Problem problem = make_problem(c, phase, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const GpuResult all = run_once(attention, problem, gpu);
    gpu.reset(attention);
    AttentionTensors tensors = gpu.tensors();
    tensors.lse = nullptr;
    tensors.counts = nullptr;
    tensors.skip_map = nullptr;
    attention.run(tensors);
    EXPECT_EQ(gpu.result().out, all.out);
  });
}

class Stream {
 public:
  Stream() { test::require_cuda(cudaStreamCreate(&stream_), "create a stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// A captured run().
class Graph {
 public:
  Graph(const Attention& attention, const AttentionTensors& tensors, const Stream& stream) {
    test::require_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal),
                       "capture");
    attention.run(tensors, stream.get());
    cudaGraph_t graph = nullptr;
    test::require_cuda(cudaStreamEndCapture(stream.get(), &graph), "capture");
    test::require_cuda(cudaGraphInstantiate(&executable_, graph, 0), "instantiate");
    cudaGraphDestroy(graph);
  }
  ~Graph() { cudaGraphExecDestroy(executable_); }
  void replay(const Stream& stream) {
    test::require_cuda(cudaGraphLaunch(executable_, stream.get()), "replay");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

TEST_F(SmallAttention, GraphsFollowThresholdsAndPlans) {
  for_all([&](const AttentionCase& c, Phase phase, const ProblemOptions& options) {
    const Problem problem = make_problem(c, phase, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const Stream stream;
    const auto direct = [&](std::span<const PlannedSequence> sequences) {
      attention.plan(sequences, stream.get());
      gpu.reset(attention);
      attention.run(gpu.tensors(true), stream.get());
      return gpu.result();
    };
    // The skip map of a longer plan must not move what the graph was captured with.
    attention.plan(problem.sequences, stream.get());
    gpu.reset(attention);
    AttentionTensors tensors = gpu.tensors(true);
    tensors.skip_map = nullptr;
    Graph graph(attention, tensors, stream);
    const auto replay = [&](std::span<const PlannedSequence> sequences) {
      attention.plan(sequences, stream.get());
      gpu.reset(attention);
      graph.replay(stream);
      return gpu.result();
    };
    const auto expect_same = [&](std::span<const PlannedSequence> sequences, const char* what) {
      const GpuResult want = direct(sequences);
      GpuResult got = replay(sequences);
      got.skip_map = want.skip_map;
      EXPECT_TRUE(got == want) << what;
    };
    for (const float threshold : {kDenseThresholdLog2, -8.0f, 0.0f}) {
      gpu.set_thresholds(std::vector<float>(problem.cases.size(), threshold));
      expect_same(problem.sequences, "another threshold");
    }
    // A plan of other lengths, fewer sequences, in another order.
    std::vector<PlannedSequence> other(problem.sequences.rbegin(), problem.sequences.rend());
    if (other.size() > 1) {
      other.pop_back();
    }
    for (PlannedSequence& s : other) {
      const int64_t shorter = s.kv_len / 3;
      s.q_len = std::min(s.q_len, s.kv_len - shorter);
      s.kv_len -= shorter;
    }
    expect_same(other, "another plan");
    expect_same(problem.sequences, "the first plan again");
  });
}

TEST_F(SmallAttention, PlansCannotBeCaptured) {
  const AttentionCase c = test::small_gpu_attention_cases().front();
  for_kernels(c, Phase::kPrefill, {.seed = seed_}, [&](const ProblemOptions& options) {
    const Problem problem = make_problem(c, Phase::kPrefill, options);
    Attention attention(problem.config);
    const Stream stream;
    test::require_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed),
                       "capture");
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "cannot be captured",
                 attention.plan(problem.sequences, stream.get()));
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream.get(), &graph);
    cudaGraphDestroy(graph);
  });
}

// Many plans and runs in flight: the host waits for no more than its own staging memory.
TEST_F(SmallAttention, PlansInFlightDoNotOverwriteEachOther) {
  for_all([&](const AttentionCase& c, Phase phase, const ProblemOptions& options) {
    const Problem problem = make_problem(c, phase, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    const GpuResult want = run_once(attention, problem, gpu);
    const Stream stream;
    std::vector<PlannedSequence> shorter = problem.sequences;
    for (PlannedSequence& s : shorter) {
      s.q_len = 1;
    }
    gpu.reset(attention);
    AttentionTensors quiet = gpu.tensors();
    quiet.counts = nullptr;
    quiet.skip_map = nullptr;
    for (int i = 0; i < 20; ++i) {
      attention.plan(shorter, stream.get());
      attention.run(quiet, stream.get());
      attention.plan(problem.sequences, stream.get());
      if (i < 19) {
        attention.run(quiet, stream.get());
      }
    }
    attention.run(gpu.tensors(), stream.get());
    EXPECT_TRUE(gpu.result() == want);
  });
}

TEST_F(SmallAttention, RunNamesTheTensorThatDoesNotFit) {
  const AttentionCase c = test::small_gpu_attention_cases().front();
  for_kernels(c, Phase::kPrefill, {.seed = seed_}, [&](const ProblemOptions& options) {
    const Problem problem = make_problem(c, Phase::kPrefill, options);
    GpuProblem gpu(problem);
    Attention attention(problem.config);
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "plan()", attention.run(gpu.tensors()));
    attention.plan(problem.sequences);
    gpu.reset(attention);
    AttentionTensors tensors = gpu.tensors();
    tensors.q_rows = 10;
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "q_rows", attention.run(tensors));
    // The object is as good as before.
    attention.run(gpu.tensors());
    expect_parity(attention, problem, gpu.result());
  });
}

}  // namespace
}  // namespace hopskip
