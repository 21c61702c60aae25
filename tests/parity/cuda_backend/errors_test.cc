// What cannot run on a GPU ends in one line that names the thing and the way out, and leaves the
// backend usable.
#include "engine/engine.h"
#include "parity/cuda_backend/backend_support.h"
#include "support/error_matchers.h"
#include "support/tiny_model.h"

namespace hopskip::test {
namespace {

class CudaErrorsTest : public CudaBackendTest {
 protected:
  static ModelConfig config() {
    ModelConfig config = tiny_config();
    config.head_dim = 64;
    return config;
  }
  // A model still runs on the backend.
  void expect_usable() {
    TinyModel model(config());
    Engine engine(model.checkpoint(), *backend_, {.kv_tokens = 128});
    Request request;
    request.prompt = {1, 2, 3};
    request.max_new_tokens = 2;
    request.sampling.temperature = 0.0;
    engine.add(std::move(request));
    int tokens = 0;
    while (!engine.idle()) {
      for (const Event& event : engine.step()) {
        EXPECT_EQ(event.error, "");
        tokens += event.token.has_value();
      }
    }
    EXPECT_EQ(tokens, 2);
  }
};

// A part of the GPU's memory, taken.
class Hog {
 public:
  explicit Hog(size_t bytes_left) {
    size_t free = 0;
    size_t total = 0;
    require_cuda(cudaMemGetInfo(&free, &total));
    // Memory comes in pieces that need not be one behind the other.
    for (size_t piece = size_t{8} << 30; piece >= size_t{16} << 20; piece /= 2) {
      while (free > bytes_left + piece) {
        void* taken = nullptr;
        if (cudaMalloc(&taken, piece) != cudaSuccess) {
          cudaGetLastError();
          break;
        }
        pieces_.push_back(taken);
        require_cuda(cudaMemGetInfo(&free, &total));
      }
    }
  }
  ~Hog() {
    for (void* piece : pieces_) {
      cudaFree(piece);
    }
  }

 private:
  std::vector<void*> pieces_;
};

TEST_F(CudaErrorsTest, WeightsThatDoNotFitAreRefusedBeforeTheyAreRead) {
  // No data: nothing may touch it.
  const TensorView huge{nullptr, DType::kBF16, 2, {int64_t{1} << 21, int64_t{1} << 20}};
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "the weights need 4096.0 GiB of GPU memory, and cuda:0 has",
               backend_->check_fits({&huge, 1}));
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "take a smaller model", backend_->check_fits({&huge, 1}));
  expect_usable();
}

TEST_F(CudaErrorsTest, AFullGpuSaysWhatIsMissing) {
  ModelConfig large = config();
  large.vocab_size = 50000;
  large.hidden_size = 1024;
  TinyModel model(large);
  {
    const Hog hog(size_t{40} << 20);  // less than the embedding takes
    EXPECT_ERROR(ErrorCode::kOutOfMemory, "tiny: the weights need ",
                 Engine(model.checkpoint(), *backend_, {}));
    EXPECT_ERROR(ErrorCode::kOutOfMemory, "a weight needs 97.7 MiB of GPU memory, and cuda:0 has ",
                 backend_->load(model.checkpoint().get("model.embed_tokens.weight")));
  }
  expect_usable();
}

TEST_F(CudaErrorsTest, AKvCacheThatDoesNotFitNamesItsSetting) {
  TinyModel model(config());
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "kv_tokens",
               Engine(model.checkpoint(), *backend_, {.kv_tokens = int64_t{1} << 33}));
  expect_usable();
}

TEST_F(CudaErrorsTest, MissingAndMisshapenTensorsAreNamed) {
  {
    TinyModel model(config());
    model.checkpoint().tensors.erase("model.layers.1.mlp.up_proj.weight");
    EXPECT_ERROR(ErrorCode::kNotFound, "there is no tensor 'model.layers.1.mlp.up_proj.weight'",
                 Engine(model.checkpoint(), *backend_, {}));
  }
  TinyModel model(config());
  model.checkpoint().tensors.at("model.layers.0.self_attn.k_proj.weight").shape[0] -= 1;
  EXPECT_ERROR(ErrorCode::kCorrupt,
               "'model.layers.0.self_attn.k_proj.weight' has shape [127, 32], not [128, 32]",
               Engine(model.checkpoint(), *backend_, {}));
  expect_usable();
}

TEST_F(CudaErrorsTest, ADeviceThatIsNotThereIsNamed) {
  const int count = static_cast<int>(list_gpus().size());
  EXPECT_EQ(why_no_cuda_backend({.device = count + 6}),
            fmt::format("no CUDA device {}: this machine has {}", count + 6,
                        count == 1 ? "cuda:0 only" : fmt::format("cuda:0 to cuda:{}", count - 1)));
  EXPECT_ERROR(ErrorCode::kUnsupported, "no CUDA device", make_cuda_backend({.device = count + 6}));
}

TEST_F(CudaErrorsTest, ItSaysWhatItRunsWith) {
  for (const auto& [part, text] : cuda_backend_parts(0)) {
    fmt::print("  {}: {}\n", part, text);
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
  EXPECT_EQ(cuda_backend_parts(0).front().second.find("none"), std::string::npos);
}

}  // namespace
}  // namespace hopskip::test
