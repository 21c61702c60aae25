# Each dependency is mapped to one target, hopskip::<need>; nothing else in the tree names a package.

function(hopskip_dependency need)
  add_library(hopskip_dep_${need} INTERFACE)
  target_link_libraries(hopskip_dep_${need} INTERFACE ${ARGN})
  add_library(hopskip::${need} ALIAS hopskip_dep_${need})
endfunction()

find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(dnnl REQUIRED CONFIG)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
find_package(ICU REQUIRED COMPONENTS uc)

hopskip_dependency(threads Threads::Threads)
# Its OpenMP runtime is linked for omp_set_num_threads only: no code of ours is compiled with OpenMP.
hopskip_dependency(cpu_gemm DNNL::dnnl ${OpenMP_CXX_LIBRARIES})
hopskip_dependency(json nlohmann_json::nlohmann_json)
hopskip_dependency(yaml yaml-cpp)
hopskip_dependency(cli CLI11::CLI11)
# src/base/format_library.cc compiles what is not in the headers: libraries of ours need no libfmt.so.
hopskip_dependency(format)
get_target_property(fmt_headers fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
target_include_directories(hopskip_dep_format SYSTEM INTERFACE ${fmt_headers})
hopskip_dependency(regex PkgConfig::PCRE2)
hopskip_dependency(unicode ICU::uc)
if(HOPSKIP_CUDA_ENABLED)
  hopskip_dependency(cuda_runtime CUDA::cudart_static)  # finds the driver when it is first called; libcuda is not linked
endif()

if(HOPSKIP_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
  hopskip_dependency(gtest GTest::gtest GTest::gtest_main GTest::gmock)
endif()
if(HOPSKIP_BENCH)
  find_package(benchmark REQUIRED)
  hopskip_dependency(benchmark benchmark::benchmark)
endif()
