# `cmake --install build --component attention`: libhopskip_attention.so, its public headers, and the CMake package that
# gives other projects the target hopskip::attention.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/hopskip)
set(config ${CMAKE_CURRENT_BINARY_DIR}/cmake/hopskip-config.cmake)
configure_package_config_file(cmake/hopskip-config.cmake.in ${config} INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/cmake/hopskip-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)

# In this tree hopskip::attention is the module src/attention; outside, the library built on it.
set_target_properties(hopskip_attention_shared PROPERTIES EXPORT_NAME attention)
install(TARGETS hopskip_attention_shared EXPORT hopskip_attention COMPONENT attention
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT hopskip_attention NAMESPACE hopskip:: FILE hopskip-attention.cmake DESTINATION ${package}
        COMPONENT attention)
install(FILES ${config} ${CMAKE_CURRENT_BINARY_DIR}/cmake/hopskip-config-version.cmake DESTINATION ${package}
        COMPONENT attention)
foreach(header attention error types)
  install(FILES include/hopskip/${header}.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hopskip COMPONENT attention)
endforeach()
