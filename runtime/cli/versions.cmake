# SPDX-License-Identifier: MIT
# What `moonlet --version` and `moonlet doctor` know without loading a library: the versions that the build saw, and the
# name by which libgit2 is opened; and, for `moonlet new`, where libraries are installed. The command line includes no
# header of theirs.
set(MOON_CLI_LIBRARIES "libuv ${UV_VERSION}, libcurl ${CURL_VERSION}, cJSON ${CJSON_VERSION}, Lua ${LUA_VERSION}")
string(APPEND MOON_CLI_LIBRARIES ", libgit2 ${GIT2_VERSION}, PCRE2 ${PCRE2_VERSION}")
set(MOON_CLI_BUILD "${CMAKE_BUILD_TYPE}, ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
if(MOON_SANITIZE)
  string(APPEND MOON_CLI_BUILD ", sanitizers ${MOON_SANITIZE}")
endif()
set_source_files_properties(runtime/cli/main.c PROPERTIES COMPILE_DEFINITIONS
  "MOON_CLI_LIBRARIES=\"${MOON_CLI_LIBRARIES}\";MOON_CLI_BUILD=\"${MOON_CLI_BUILD}\"")
set_source_files_properties(runtime/cli/probe.c PROPERTIES COMPILE_DEFINITIONS "MOON_GIT2_SONAME=\"${GIT2_SONAME}\"")
set_source_files_properties(runtime/cli/cmd_new.c PROPERTIES COMPILE_DEFINITIONS "MOON_CLI_LIBDIR=\"${CMAKE_INSTALL_LIBDIR}\"")
