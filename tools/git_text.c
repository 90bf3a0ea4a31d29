/* SPDX-License-Identifier: MIT */
/* Diffs as the text that git prints: see git_text.h. */
#include "git_text.h"

static int on_line(const git_diff_delta *delta, const git_diff_hunk *hunk, const git_diff_line *line, void *payload) {
    moon__git_job *job = payload;
    (void)delta, (void)hunk;
    if (moon_call_cancelled(job->call)) return GIT_EUSER;
    bool marked = line->origin == GIT_DIFF_LINE_CONTEXT || line->origin == GIT_DIFF_LINE_ADDITION ||
                  line->origin == GIT_DIFF_LINE_DELETION;
    if (marked) moon_call_write(job->call, &line->origin, 1);
    moon_call_write(job->call, line->content, line->content_len);
    return 0;
}

int moon__git_put_patches(moon__git_job *job, git_diff *diff) {
    const moon__git *git = job->git;
    for (size_t i = 0, n = git->diff_num_deltas(diff); i < n; i++) {
        git_patch *patch = NULL;
        if (moon__git_pause(job)) return -1;
        int bad = git->patch_from_diff(&patch, diff, i);
        if (!bad && patch) bad = git->patch_print(patch, on_line, job);
        git->patch_free(patch);
        if (bad) return moon__git_pause(job) ? -1 : moon__git_trouble(job, "cannot show a difference");
    }
    return 0;
}
