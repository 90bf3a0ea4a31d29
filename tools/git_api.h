/* SPDX-License-Identifier: MIT */
#ifndef MOON_TOOLS_GIT_API_H
#define MOON_TOOLS_GIT_API_H
/*
 * libgit2 as a table of functions. The library is opened at its first use, because loading it and its dozen
 * dependencies costs more than a short run does. git->commit_lookup(…) is git_commit_lookup(…), with the type that
 * git2.h gives it.
 */
#include <git2.h>
#include <git2/sys/repository.h>

#define MOON__GIT_FUNCTIONS(X)                                                                                         \
    X(libgit2_init)                                                                                                    \
    X(libgit2_opts)                                                                                                    \
    X(libgit2_version)                                                                                                 \
    X(error_last)                                                                                                      \
    X(error_clear)                                                                                                     \
    X(oid_cmp)                                                                                                         \
    X(oid_fromraw)                                                                                                     \
    X(oid_fromstrn)                                                                                                    \
    X(oid_tostr)                                                                                                       \
    X(oid_is_zero)                                                                                                     \
    X(repository_open_ext)                                                                                             \
    X(repository_init_options_init)                                                                                    \
    X(repository_init_ext)                                                                                             \
    X(repository_free)                                                                                                 \
    X(repository_wrap_odb)                                                                                             \
    X(repository_path)                                                                                                 \
    X(repository_commondir)                                                                                            \
    X(repository_workdir)                                                                                              \
    X(repository_is_bare)                                                                                              \
    X(repository_is_worktree)                                                                                          \
    X(repository_state)                                                                                                \
    X(repository_state_cleanup)                                                                                        \
    X(repository_mergehead_foreach)                                                                                    \
    X(repository_message)                                                                                              \
    X(repository_head)                                                                                                 \
    X(repository_head_detached)                                                                                        \
    X(repository_set_head)                                                                                             \
    X(repository_set_ident)                                                                                            \
    X(repository_odb)                                                                                                  \
    X(repository_index)                                                                                                \
    X(repository_set_index)                                                                                            \
    X(repository_config_snapshot)                                                                                      \
    X(repository_config)                                                                                               \
    X(config_snapshot)                                                                                                 \
    X(config_open_level)                                                                                               \
    X(config_free)                                                                                                     \
    X(config_get_string)                                                                                               \
    X(config_get_bool)                                                                                                 \
    X(odb_new)                                                                                                         \
    X(odb_read)                                                                                                        \
    X(odb_free)                                                                                                        \
    X(odb_object_free)                                                                                                 \
    X(odb_object_data)                                                                                                 \
    X(odb_object_size)                                                                                                 \
    X(odb_object_type)                                                                                                 \
    X(odb_read_header)                                                                                                 \
    X(reference_free)                                                                                                  \
    X(reference_lookup)                                                                                                \
    X(reference_create)                                                                                                \
    X(reference_name)                                                                                                  \
    X(reference_shorthand)                                                                                             \
    X(reference_symbolic_target)                                                                                       \
    X(reference_target)                                                                                                \
    X(reference_peel)                                                                                                  \
    X(reference_create_matching)                                                                                       \
    X(reference_name_to_id)                                                                                            \
    X(reference_delete)                                                                                                \
    X(reference_iterator_glob_new)                                                                                     \
    X(reference_next)                                                                                                  \
    X(reference_iterator_free)                                                                                         \
    X(revparse_single)                                                                                                 \
    X(object_free)                                                                                                     \
    X(object_lookup)                                                                                                   \
    X(object_id)                                                                                                       \
    X(object_peel)                                                                                                     \
    X(object_type)                                                                                                     \
    X(commit_lookup)                                                                                                   \
    X(commit_free)                                                                                                     \
    X(commit_id)                                                                                                       \
    X(commit_tree)                                                                                                     \
    X(commit_tree_id)                                                                                                  \
    X(commit_parent)                                                                                                   \
    X(commit_parentcount)                                                                                              \
    X(commit_parent_id)                                                                                                \
    X(commit_author)                                                                                                   \
    X(commit_committer)                                                                                                \
    X(commit_time)                                                                                                     \
    X(commit_time_offset)                                                                                              \
    X(commit_summary)                                                                                                  \
    X(commit_body)                                                                                                     \
    X(commit_message)                                                                                                  \
    X(commit_create)                                                                                                   \
    X(tree_lookup)                                                                                                     \
    X(tree_free)                                                                                                       \
    X(tree_entrycount)                                                                                                 \
    X(tree_entry_byindex)                                                                                              \
    X(tree_entry_bypath)                                                                                               \
    X(tree_entry_free)                                                                                                 \
    X(tree_entry_id)                                                                                                   \
    X(tree_entry_name)                                                                                                 \
    X(tree_entry_filemode)                                                                                             \
    X(tree_entry_type)                                                                                                 \
    X(blob_lookup)                                                                                                     \
    X(blob_free)                                                                                                       \
    X(blob_rawcontent)                                                                                                 \
    X(blob_rawsize)                                                                                                    \
    X(blob_is_binary)                                                                                                  \
    X(blob_create_from_buffer)                                                                                         \
    X(blob_create_from_workdir)                                                                                        \
    X(status_list_new)                                                                                                 \
    X(status_list_free)                                                                                                \
    X(status_list_entrycount)                                                                                          \
    X(status_byindex)                                                                                                  \
    X(diff_options_init)                                                                                               \
    X(diff_find_options_init)                                                                                          \
    X(status_options_init)                                                                                             \
    X(checkout_options_init)                                                                                           \
    X(diff_tree_to_tree)                                                                                               \
    X(diff_tree_to_index)                                                                                              \
    X(diff_tree_to_workdir_with_index)                                                                                 \
    X(diff_index_to_workdir)                                                                                           \
    X(diff_find_similar)                                                                                               \
    X(diff_num_deltas)                                                                                                 \
    X(diff_get_delta)                                                                                                  \
    X(diff_buffers)                                                                                                    \
    X(diff_free)                                                                                                       \
    X(patch_from_diff)                                                                                                 \
    X(patch_free)                                                                                                      \
    X(patch_get_delta)                                                                                                 \
    X(patch_line_stats)                                                                                                \
    X(patch_print)                                                                                                     \
    X(branch_iterator_new)                                                                                             \
    X(branch_iterator_free)                                                                                            \
    X(branch_next)                                                                                                     \
    X(branch_name)                                                                                                     \
    X(branch_lookup)                                                                                                   \
    X(branch_create)                                                                                                   \
    X(branch_delete)                                                                                                   \
    X(branch_is_head)                                                                                                  \
    X(branch_is_checked_out)                                                                                           \
    X(branch_name_is_valid)                                                                                            \
    X(graph_ahead_behind)                                                                                              \
    X(graph_descendant_of)                                                                                             \
    X(merge_options_init)                                                                                              \
    X(merge_commits)                                                                                                   \
    X(checkout_tree)                                                                                                   \
    X(attr_get)                                                                                                        \
    X(filter_list_load)                                                                                                \
    X(filter_list_apply_to_buffer)                                                                                     \
    X(filter_list_free)                                                                                                \
    X(buf_dispose)                                                                                                     \
    X(blame_options_init)                                                                                              \
    X(blame_file)                                                                                                      \
    X(blame_get_hunk_count)                                                                                            \
    X(blame_get_hunk_byindex)                                                                                          \
    X(blame_free)                                                                                                      \
    X(index_free)                                                                                                      \
    X(index_open)                                                                                                      \
    X(index_remove)                                                                                                    \
    X(index_get_byindex)                                                                                               \
    X(index_conflict_cleanup)                                                                                          \
    X(index_conflict_iterator_new)                                                                                     \
    X(index_conflict_next)                                                                                             \
    X(index_conflict_iterator_free)                                                                                    \
    X(index_add)                                                                                                       \
    X(index_add_bypath)                                                                                                \
    X(index_remove_bypath)                                                                                             \
    X(index_get_bypath)                                                                                                \
    X(index_has_conflicts)                                                                                             \
    X(index_entrycount)                                                                                                \
    X(index_write)                                                                                                     \
    X(index_write_tree)                                                                                                \
    X(index_write_tree_to)                                                                                             \
    X(ignore_path_is_ignored)                                                                                          \
    X(signature_new)                                                                                                   \
    X(signature_now)                                                                                                   \
    X(signature_dup)                                                                                                   \
    X(signature_free)                                                                                                  \
    X(message_prettify)                                                                                                \
    X(mailmap_from_buffer)                                                                                             \
    X(mailmap_free)                                                                                                    \
    X(mailmap_resolve)

typedef struct moon__git {
#define X(name) __typeof__(&git_##name) name;
    MOON__GIT_FUNCTIONS(X)
#undef X
} moon__git;

/* The library, opened and initialised; NULL if that is not possible, and *why then says why (static text). Any thread.
 */
const moon__git *moon__git_library(const char **why);

#endif
