# hopskip_module(<name> [EXTERNAL target...]): the static library of src/<name>, linked to the modules
# that layers.txt grants it. hopskip_test(<kind>): one test binary per folder of tests/<kind>.

file(STRINGS ${PROJECT_SOURCE_DIR}/cmake/layers.txt HOPSKIP_LAYERS REGEX "^[a-z]+:")
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS cmake/layers.txt)

function(hopskip_module name)
  cmake_parse_arguments(ARG "" "" "EXTERNAL" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(target hopskip_${name})
  if(NOT sources)
    add_library(${target} INTERFACE)
    return()
  endif()
  add_library(${target} STATIC ${sources})
  add_library(hopskip::${name} ALIAS ${target})
  hopskip_flags(${target})
  foreach(line IN LISTS HOPSKIP_LAYERS)
    if(line MATCHES "^${name}:(.*)$")
      separate_arguments(lower UNIX_COMMAND "${CMAKE_MATCH_1}")
      list(TRANSFORM lower PREPEND hopskip_)
      target_link_libraries(${target} PUBLIC ${lower})
    endif()
  endforeach()
  target_link_libraries(${target} PUBLIC ${ARG_EXTERNAL})
endfunction()

# Each folder tests/<kind>/<module>/ becomes the binary <kind>_<module>; its tests carry the label <kind>.
function(hopskip_test kind module)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${kind}/${module}/*.cc)
  set(target ${kind}_${module})
  add_executable(${target} ${sources})
  hopskip_flags(${target})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE hopskip_test_support ${ARG_LIBS} hopskip::gtest)
  gtest_discover_tests(${target} TEST_PREFIX ${kind}/${module}/ DISCOVERY_MODE PRE_TEST
                       PROPERTIES LABELS ${kind} TIMEOUT 300)
endfunction()
