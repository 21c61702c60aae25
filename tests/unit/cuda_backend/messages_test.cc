// What is said where a GPU, its driver, its memory or its library is not there: without a GPU.
#include <gtest/gtest.h>

#include "kernels/cuda/backend/cublas_lt.h"
#include "kernels/cuda/backend/weights.h"
#include "kernels/cuda/device.h"

namespace hopskip::cuda {
namespace {

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) {
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' in: " << text;
  }
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

TEST(WhyNoGpu, NamesTheCauseAndTheWayOut) {
  EXPECT_EQ(why_no_gpu(cudaErrorInsufficientDriver, 0, 13000), "no NVIDIA driver is installed");
  expect_words(why_no_gpu(cudaErrorInsufficientDriver, 12040, 13010),
               {"supports CUDA 12.4,", "built with CUDA 13.1", "install a driver for CUDA 13.0"});
  expect_words(why_no_gpu(cudaErrorNoDevice, 13000, 13000),
               {"shows no GPU", "nvidia-smi -L", "CUDA_VISIBLE_DEVICES", "container"});
  expect_words(why_no_gpu(cudaErrorSystemDriverMismatch, 13000, 13000),
               {"different versions", "restart"});
  expect_words(why_no_gpu(cudaErrorSystemNotReady, 13000, 13000), {"nvidia-fabricmanager"});
  expect_words(why_no_gpu(cudaErrorDevicesUnavailable, 13000, 13000),
               {"CUDA does not start: ", "busy or unavailable"});
}

TEST(NoRoomText, GivesTheNumbersAndTheWaysOut) {
  const int64_t gib = int64_t{1} << 30;
  EXPECT_EQ(no_room_text("the weights", 15 * gib, 1, gib / 2, 80 * gib, "take a smaller model"),
            "the weights need 15.0 GiB of GPU memory, and cuda:1 has 512.0 MiB free of 80.0 GiB; "
            "take a smaller model, or end what else uses this GPU (nvidia-smi lists it), or take "
            "another device (cuda:N, cpu)");
  expect_words(no_room_text("the KV cache", gib, 0, 0, gib, "let it hold fewer tokens (kv_tokens)"),
               {"the KV cache needs 1.0 GiB", "0.0 MiB free", "kv_tokens"});
  expect_words(no_room_text("rotary frequencies", 1, 0, 0, gib, ""),
               {"need 0.0 MiB", "; end what"});
}

TEST(CublasStartFailure, TellsAnOldDriverFromAMixedInstallation) {
  EXPECT_EQ(cublas_lt_name(130102), "cuBLASLt 13.1.2");
  expect_words(cublas_start_failure("CUBLAS_STATUS_NOT_INITIALIZED", 130002, 12080),
               {"cuBLASLt 13.0.2 does not start (CUBLAS_STATUS_NOT_INITIALIZED)",
                "driver for CUDA 13", "supports CUDA 12.8", "install a newer driver"});
  expect_words(cublas_start_failure("CUBLAS_STATUS_ALLOC_FAILED", 130002, 13000),
               {"free some GPU memory", "cuBLAS that belongs to CUDA 13.0"});
}

TEST(BytesOnDevice, AreThoseOfBf16AndOfVectorsTwice) {
  const TensorView matrix{nullptr, DType::kQ4_1, 2, {32, 64}};
  const TensorView experts{nullptr, DType::kF32, 3, {4, 8, 16}};
  const TensorView vector{nullptr, DType::kBF16, 1, {100}};
  const TensorView all[] = {matrix, experts, vector};
  EXPECT_EQ(bytes_on_device(all), 2 * (32 * 64 + 4 * 8 * 16) + 6 * 100);
  EXPECT_EQ(bytes_on_device({}), 0);
}

}  // namespace
}  // namespace hopskip::cuda
