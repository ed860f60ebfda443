# find_package(treewarden) gives `treewarden::treewarden` (shared) and `treewarden::static`. The folder may be moved as
# a whole.
get_filename_component(_treewarden_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_package(Threads REQUIRED)

if(NOT TARGET treewarden::treewarden)
  add_library(treewarden::treewarden SHARED IMPORTED)
  set_target_properties(treewarden::treewarden PROPERTIES
    IMPORTED_LOCATION "${_treewarden_prefix}/lib/libtreewarden.so"
    IMPORTED_SONAME "libtreewarden.so.1"
    INTERFACE_INCLUDE_DIRECTORIES "${_treewarden_prefix}/include")
  add_library(treewarden::static STATIC IMPORTED)
  set_target_properties(treewarden::static PROPERTIES
    IMPORTED_LOCATION "${_treewarden_prefix}/lib/libtreewarden.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_treewarden_prefix}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
endif()

set(treewarden_VERSION "@VERSION@")
unset(_treewarden_prefix)
