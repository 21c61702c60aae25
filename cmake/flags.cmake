# Every compile flag of the project is set here: C++ in hopskip_flags, CUDA in hopskip_cuda_flags.

option(HOPSKIP_WERROR "Treat warnings as errors" ON)
set(HOPSKIP_SANITIZE "" CACHE STRING "Sanitizers: empty, 'address,undefined' or 'thread'")
if(HOPSKIP_FUZZ)
  set(HOPSKIP_SANITIZE fuzzer-no-link,address,undefined)  # libFuzzer steers by coverage of the libraries
endif()

function(hopskip_flags target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  set(options -Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers $<$<BOOL:${HOPSKIP_WERROR}>:-Werror>)
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${options}>")
  if(HOPSKIP_SANITIZE)
    set(options -fsanitize=${HOPSKIP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_compile_options(${target} PUBLIC "$<$<COMPILE_LANGUAGE:CXX>:${options}>")
    target_link_options(${target} PUBLIC -fsanitize=${HOPSKIP_SANITIZE})
  endif()
endfunction()

# The source files of the calling folder are compiled for their instruction set: *_avx512.cc, *_avx2.cc.
function(hopskip_simd_flags)
  set(avx2 -mavx2 -mfma -mf16c)
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mprefer-vector-width=512
      -Wno-maybe-uninitialized -Wno-uninitialized)  # g++ 12's own AVX-512 header sets it off
  foreach(level avx2 avx512)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_${level}.cc)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${${level}}")
  endforeach()
endfunction()

# For the *.cu files of a target. CMake 3.25 does not know how to ask nvcc 13 for C++20, hence -std here; without -O3 and
# NDEBUG, whatever the build type, ptxas serialises wgmma (warning C7510).
function(hopskip_cuda_flags target)
  set(options -std=c++20 -O3 -DNDEBUG --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas
      -Xcompiler=-Wno-missing-field-initializers $<$<BOOL:${HOPSKIP_WERROR}>:-Werror=all-warnings>)
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${options}>")
endfunction()

# The *.cu files below the calling folder's `folder` are compiled for `gencode`…; their names are appended to the list `out`.
function(hopskip_cuda_sources out folder)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cu)
  list(TRANSFORM ARGN PREPEND -gencode= OUTPUT_VARIABLE gencode)
  set_source_files_properties(${found} PROPERTIES COMPILE_OPTIONS "${gencode}")
  set(${out} ${${out}} ${found} PARENT_SCOPE)
endfunction()
