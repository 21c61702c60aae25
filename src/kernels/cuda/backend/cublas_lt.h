// cuBLASLt, opened at run time: programs start on machines without it.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_CUBLAS_LT_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_CUBLAS_LT_H_

#include <cublasLt.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace hopskip::cuda {

// The functions that are used, by their names without "cublasLt".
struct CublasLt {
  decltype(&cublasLtCreate) Create;
  decltype(&cublasLtDestroy) Destroy;
  decltype(&cublasLtGetStatusString) GetStatusString;
  decltype(&cublasLtGetVersion) GetVersion;
  decltype(&cublasLtMatmul) Matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) MatmulAlgoGetHeuristic;
  decltype(&cublasLtMatmulDescCreate) MatmulDescCreate;
  decltype(&cublasLtMatmulDescDestroy) MatmulDescDestroy;
  decltype(&cublasLtMatmulDescSetAttribute) MatmulDescSetAttribute;
  decltype(&cublasLtMatmulPreferenceCreate) MatmulPreferenceCreate;
  decltype(&cublasLtMatmulPreferenceDestroy) MatmulPreferenceDestroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) MatmulPreferenceSetAttribute;
  decltype(&cublasLtMatrixLayoutCreate) MatrixLayoutCreate;
  decltype(&cublasLtMatrixLayoutDestroy) MatrixLayoutDestroy;
};

// Stays open. Throws Unsupported with why_no_cublas_lt().
const CublasLt& cublas_lt();
// Empty where it can be opened; else names the file and where it is looked for.
std::string why_no_cublas_lt();

// "cuBLASLt 13.0.2"; empty where it cannot be opened.
std::string cublas_lt_name();
// The same of a version as cuBLASLt numbers it, 10000 · major + 100 · minor + patch.
std::string cublas_lt_name(size_t version);
// Why it does not start, by what it said itself, its version, and the newest CUDA that the driver
// supports (as CUDA numbers it).
std::string cublas_start_failure(std::string_view status, size_t version, int driver_version);

// Throws Device: "cuBLASLt cannot <what>: …".
void check_cublas(cublasStatus_t status, const char* what);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_CUBLAS_LT_H_
