# SPDX-License-Identifier: MIT
"""The git tools through `moonlet call`, against what the git program says and does."""
import json
import os

import fixtures
import harness


class Git(harness.Case):
    def setUp(self):
        super().setUp()
        self.repo = fixtures.harbour(self.work + "/harbour", self.env)

    def call(self, tool, code=0, **args):
        done = self.moonlet("call", tool, json.dumps(args), "-C", self.repo.path, "--yes")
        self.assertEqual(done.code, code, done)
        return done

    def value(self, tool, **args):
        return json.loads(self.call(tool, **args).out)

    def git(self, *args):
        return self.repo.git(*args).strip()

    def test_diff_of_the_work_tree_is_gits(self):
        name = self.git("ls-files").splitlines()[0]
        self.repo.add_line(name, "one more line")
        self.assertEqual(self.call("git.diff").out.strip(), self.git("diff", "HEAD"))
        self.assertEqual(self.call("git.diff", staged=True).out.strip(), "no differences")
        self.git("add", name)
        self.assertEqual(self.call("git.diff", staged=True).out.strip(), self.git("diff", "--cached"))

    def test_diff_stat_between_commits_counts_as_git_does(self):
        ids = self.git("rev-list", "--first-parent", "HEAD").splitlines()
        made = self.value("git.diff", **{"from": ids[-1], "to": ids[0], "stat": True})
        rows = [line.split("\t") for line in self.git("diff", "--numstat", "--no-renames", ids[-1], ids[0]).splitlines()]
        renamed = [f for f in made["files"] if "from" in f]
        if not renamed:
            self.assertEqual(made["total"], len(rows))
        numbers = [line.split("\t")[:2] for line in self.git("diff", "--numstat", "-M", ids[-1], ids[0]).splitlines()]
        self.assertEqual(made["added"], sum(int(a) for a, _ in numbers if a != "-"))
        self.assertEqual(made["deleted"], sum(int(d) for _, d in numbers if d != "-"))

    def test_show_has_the_header_and_the_patch(self):
        out = self.call("git.show").out
        head = self.git("rev-parse", "HEAD")
        self.assertTrue(out.startswith(f"commit {head}\n"), out)
        self.assertIn(self.git("log", "-1", "--format=%an <%ae>"), out)
        self.assertIn(self.git("log", "-1", "--format=%s"), out)

    def test_show_of_a_path_is_the_file_then(self):
        old = self.git("rev-list", "HEAD").splitlines()[-1]
        name = self.git("ls-tree", "-r", "--name-only", old).splitlines()[0]
        self.assertEqual(self.call("git.show", ref=old, path=name).out.strip(), self.git("show", f"{old}:{name}"))
        self.assertIn("there is no", self.call("git.show", code=1, path="none").err)

    def test_status_tells_each_kind_of_change(self):
        names = [n for n in self.git("ls-files").splitlines() if n.isascii() and '"' not in n]
        self.repo.add_line(names[0], "changed")
        self.repo.write("new file.txt", "x\n")
        self.git("rm", "-q", names[1])
        made = {e["path"]: e for e in self.value("git.status")["entries"]}
        self.assertEqual(made[names[0]].get("worktree"), "modified")
        self.assertEqual(made["new file.txt"].get("worktree"), "untracked")
        self.assertEqual(made[names[1]].get("index"), "deleted")
        self.assertEqual(len(made), 3)

    def test_status_has_the_paths_that_git_has_after_each_way_to_stage(self):
        names = [n for n in self.git("ls-files").splitlines() if n.isascii() and '"' not in n]
        self.repo.write("meant.txt", "x\n")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.com")
        for label, command in (
                ("nothing", ["status"]),
                ("intent to add", ["add", "-N", "meant.txt"]),
                ("added", ["add", "meant.txt"]),
                ("committed", ["commit", "-qm", "meant"]),
                ("commit undone", ["reset", "-q", "--soft", "HEAD~"]),
                ("index undone", ["reset", "-q"]),
                ("removed from the index", ["rm", "-q", "--cached", names[0]]),
                ("another tree", ["read-tree", "HEAD~2"]),
                ("an empty index", ["read-tree", "--empty"]),
                ("reset", ["reset", "-q", "--hard"])):
            self.git(*command)
            with self.subTest(label):
                theirs = {row[3:] for row in self.repo.git("status", "--porcelain", "-z", "--no-renames").split("\0") if row}
                ours = {p for e in self.value("git.status", limit=1000)["entries"] for p in (e["path"], e.get("from")) if p}
                self.assertEqual(ours, theirs)

    def test_commit_takes_what_it_is_given_and_nothing_else(self):
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.com")
        self.repo.write("hooked", "no\n")
        self.repo.write(".git/hooks/pre-commit", "#!/bin/sh\ntouch ran\nexit 1\n")
        os.chmod(self.repo.path + "/.git/hooks/pre-commit", 0o755)
        self.repo.write("a/new.txt", "x\n")
        before = self.git("rev-parse", "HEAD")
        made = self.value("git.commit", message="Add a", paths=["a"])
        self.assertEqual(made["id"], self.git("rev-parse", "HEAD"))
        self.assertEqual(self.git("rev-parse", "HEAD^"), before)
        self.assertEqual(self.git("log", "-1", "--format=%an <%ae> %s"), "Ada <ada@example.com> Add a")
        self.assertEqual(self.git("show", "--name-only", "--format="), "a/new.txt")
        self.assertEqual(made["files"], 1)
        self.assertFalse(os.path.exists(self.repo.path + "/ran"))
        self.assertIn("nothing to commit", self.call("git.commit", code=1, message="again").err)
        os.unlink(self.repo.path + "/a/new.txt")
        self.value("git.commit", message="Drop a", all=True)
        self.assertEqual(self.git("show", "--name-status", "--format="), "D\ta/new.txt")

    def test_commit_without_an_identity_says_how_to_set_one(self):
        self.repo.write("x", "x\n")
        self.assertIn("user.name", self.call("git.commit", code=1, message="m", paths=["x"]).err)

    def test_branches_are_created_switched_and_deleted_safely(self):
        name = self.git("ls-files").splitlines()[0]
        start = self.git("symbolic-ref", "--short", "HEAD")
        self.call("git.branch", name="topic")
        self.assertEqual(self.git("rev-parse", "topic"), self.git("rev-parse", "HEAD"))
        self.call("git.branch", name="topic", code=1)
        self.call("git.branch", name="topic", action="switch")
        self.assertEqual(self.git("symbolic-ref", "--short", "HEAD"), "topic")
        self.call("git.branch", name="topic", action="delete", code=1)
        self.repo.add_line(name, "on topic")
        self.repo.commit("On topic")
        self.call("git.branch", name=start, action="switch")
        self.assertIn("merge it first", self.call("git.branch", name="topic", action="delete", code=1).err)
        made = self.value("git.branches")
        self.assertEqual(made["current"], start)
        self.assertEqual({b["name"]: b["id"] for b in made["branches"]},
                         dict(line.split(" ") for line in self.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()))
        self.repo.add_line(name, "in the way")
        self.assertIn("local changes", self.call("git.branch", name="topic", action="switch", code=1).err)

    def test_blame_agrees_with_git_line_by_line(self):
        for name in self.git("ls-files", "-z").split("\0"):
            if not name or not self.repo.read(name):
                continue
            made = self.value("git.blame", path=name)
            ours = []
            for hunk in made["hunks"]:
                ours += [hunk["commit"]] * hunk["lines"]
            theirs = [line.split(" ")[0] for line in self.git("blame", "--porcelain", "HEAD", "--", name).splitlines()
                      if len(line.split(" ")[0]) == 40 and not line.startswith("\t") and len(line.split(" ")) >= 3]
            self.assertEqual(ours, theirs, name)

    def test_a_work_tree_that_leads_elsewhere_is_refused(self):
        self.git("config", "core.worktree", "/tmp")
        for tool in ("git.status", "git.log", "git.diff"):
            self.assertIn("refused", self.call(tool, code=1).err)

    def test_helpers_named_by_the_repository_do_not_run(self):
        ran, name = self.work + "/ran", self.git("ls-files").splitlines()[0]
        for key in ("core.fsmonitor", "diff.external", "core.pager", "core.editor", "filter.f.clean", "filter.f.smudge", "diff.d.textconv", "core.sshCommand"):
            self.git("config", key, f"touch {ran}; cat")
        self.repo.write(".gitattributes", "* filter=f diff=d\n")
        self.repo.add_line(name, "changed")  # not through git, which would run them
        for tool in ("git.status", "git.log", "git.diff", "git.show", "git.branches"):
            self.call(tool)
        self.assertFalse(os.path.exists(ran))


if __name__ == "__main__":
    harness.main()
