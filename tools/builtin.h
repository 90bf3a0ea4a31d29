/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_BUILTIN_H
#define MOON_TOOLS_BUILTIN_H
/* The built-in tools, one file each. */
#include <moonlet/tool.h>

extern const moon_tool moon__tool_file_read;
extern const moon_tool moon__tool_file_write;
extern const moon_tool moon__tool_file_edit;
extern const moon_tool moon__tool_file_list;
extern const moon_tool moon__tool_search;
extern const moon_tool moon__tool_shell;
extern const moon_tool moon__tool_git_status;
extern const moon_tool moon__tool_git_log;
extern const moon_tool moon__tool_git_diff;
extern const moon_tool moon__tool_git_show;
extern const moon_tool moon__tool_git_blame;
extern const moon_tool moon__tool_git_branches;
extern const moon_tool moon__tool_git_branch;
extern const moon_tool moon__tool_git_commit;

/* Not one of them: makes a repository for a test. */
extern const moon_tool moon__tool_test_repository;

/* All of them; ends with NULL. */
extern const moon_tool *const moon__builtin_tools[];
#endif
