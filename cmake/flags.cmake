# Every compile flag of the project is set here, in one function.

option(HOPSKIP_WERROR "Treat warnings as errors" ON)
set(HOPSKIP_SANITIZE "" CACHE STRING "Sanitizers: empty, 'address,undefined' or 'thread'")
if(HOPSKIP_FUZZ)
  set(HOPSKIP_SANITIZE fuzzer-no-link,address,undefined)  # libFuzzer steers by coverage of the libraries
endif()

function(hopskip_flags target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unknown-pragmas
                                            -Wno-missing-field-initializers)
  if(HOPSKIP_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(HOPSKIP_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${HOPSKIP_SANITIZE} -fno-omit-frame-pointer
                                            -fno-sanitize-recover=all)
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
