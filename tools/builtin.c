/* SPDX-License-Identifier: MIT */
/* The table of the built-in tools. */
#include "builtin.h"

const moon_tool *const moon__builtin_tools[] = {
    &moon__tool_file_read,  &moon__tool_file_write, &moon__tool_file_edit,
    &moon__tool_file_list,  &moon__tool_search,     &moon__tool_shell,
    &moon__tool_git_status, &moon__tool_git_log,    &moon__tool_git_diff,
    &moon__tool_git_show,   &moon__tool_git_blame,  &moon__tool_git_branches,
    &moon__tool_git_branch, &moon__tool_git_commit, NULL,
};
