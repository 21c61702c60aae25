# Every compile flag of the project is set here, in one function.

option(HOPSKIP_WERROR "Treat warnings as errors" ON)
set(HOPSKIP_SANITIZE "" CACHE STRING "Sanitizers: empty, 'address,undefined' or 'thread'")

function(hopskip_flags target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unknown-pragmas)
  if(HOPSKIP_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(HOPSKIP_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${HOPSKIP_SANITIZE} -fno-omit-frame-pointer
                                            -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${HOPSKIP_SANITIZE})
  endif()
endfunction()
