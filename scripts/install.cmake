# SPDX-License-Identifier: MIT
# cmake --install: the program, the library (shared and static), the public headers, a pkg-config file, the manual page,
# the shells' completions, and the Lua API's annotations for editors.
include(${CMAKE_SOURCE_DIR}/runtime/cli/versions.cmake)

install(TARGETS moonlet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS moonlet_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS moonlet_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES runtime/include/moonlet/moonlet.h runtime/include/moonlet/tool.h runtime/include/moonlet/extend.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/moonlet)
install(FILES runtime/lua/types/moonlet.lua DESTINATION ${CMAKE_INSTALL_DATADIR}/moonlet/types)
install(FILES docs/man/moonlet.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES scripts/completions/moonlet.bash RENAME moonlet
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES scripts/completions/_moonlet DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES scripts/completions/moonlet.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# The file finds its prefix from where it lies, so that a tree that was installed with --prefix can be used there.
# Directories that were set to absolute ones stay as they are.
function(moon_pc_dir out dir)
  if(IS_ABSOLUTE "${dir}")
    set(${out} "${dir}" PARENT_SCOPE)
  else()
    set(${out} "\${prefix}/${dir}" PARENT_SCOPE)
  endif()
endfunction()
moon_pc_dir(MOON_PC_LIBDIR "${CMAKE_INSTALL_LIBDIR}")
moon_pc_dir(MOON_PC_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(MOON_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH MOON_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" MOON_PC_UP "${MOON_PC_UP}")
  set(MOON_PC_PREFIX "\${pcfiledir}/${MOON_PC_UP}")
endif()
configure_file(scripts/moonlet.pc.in moonlet.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/moonlet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
