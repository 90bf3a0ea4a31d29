# SPDX-License-Identifier: MIT
"""Agents that work in a git worktree of their own: made, merged back, refused, found again, listed and removed; compared with the git program."""
import fcntl
import json
import os
import pathlib
import signal
import time
import unittest

import harness
from fixtures import Repo, lines

# An agent that runs its task, lines of shell, a step each, and says so.
WORKER = """
local moon = require "moonlet"
local function worker(more)
  local spec = { name = "worker", workspace = "worktree", tools = { "shell", "file" }, policy = { ["*"] = "allow" },
    model = moon.model.script(function(r)
      local steps, n, task = {}, 0, nil
      for _, m in ipairs(r.messages) do
        if m.role == "user" then task = m.content end
        if m.role == "tool" then n = n + 1 end
      end
      for line in task:gmatch("[^\\n]+") do steps[#steps + 1] = line end
      if steps[n + 1] then return { tool_calls = { { name = "shell", arguments = { command = steps[n + 1] } } } } end
      return "did " .. #steps
    end) }
  for key, value in pairs(more or {}) do spec[key] = value end
  return moon.agent(spec)
end
"""
ONE = WORKER + "return worker()\n"
EACH = WORKER + """
return function(input)
  return moon.chain.each(worker(), { settle = true }):run(moon.json.decode(input))
end
"""


class Worktrees(harness.Case):
    def setUp(self):
        super().setUp()
        self.repo = Repo(self.work, self.env)
        for name in "abc":
            self.repo.write(f"{name}.txt", lines(9))
        self.repo.write("dir/d.txt", "deep\n")
        self.repo.write(".gitignore", "*.log\n")
        self.base = self.repo.commit("begin")

    def script(self, text=ONE, name="one"):
        path = os.path.join(self.dir, f"{name}.lua")
        pathlib.Path(path).write_text(text)
        return path

    def go(self, task, *args, text=ONE, code=0, **options):
        done = self.moonlet("run", self.script(text), task, *args, **options)
        self.assertEqual(done.code, code, done)
        return done

    def each(self, *tasks, **options):
        return json.loads(self.go(json.dumps(tasks), text=EACH, **options).out)

    def last(self):
        return json.loads(self.moonlet("runs", "--json", "--limit", "1").out)[0]["run"]

    def events(self, *types, run=None):
        out = self.moonlet("show", run or self.last(), "--events").out
        return [e for e in map(json.loads, out.splitlines()) if not types or e["type"] in types]

    def kinds(self, run=None):
        return [e["type"][9:] for e in self.events(run=run) if e["type"].startswith("worktree.")]

    def listed(self, *args, code=0, **options):
        done = self.moonlet("worktrees", "--json", *args, **options)
        self.assertEqual(done.code, code, done)
        return json.loads(done.out)

    def beside(self):
        return sorted(name for name in os.listdir(self.dir) if name.startswith("work-"))

    def branches(self):
        return self.repo.lines("for-each-ref", "--format=%(refname:short)", "refs/heads/moonlet")

    def nothing_left(self):
        self.assertEqual((self.beside(), self.branches(), self.repo.git("status", "--porcelain")), ([], [], ""))
        self.assertEqual(len(self.repo.lines("worktree", "list")), 1)
        self.repo.git("fsck", "--strict")

    def wait_for(self, condition, what):
        end = time.monotonic() + harness.PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, f"waited for {what}")
            time.sleep(0.01)


class Merging(Worktrees):
    def test_the_work_comes_back_as_a_commit(self):
        done = self.go("echo new > new.txt; rm b.txt; chmod +x a.txt; ln -s a.txt link; echo no > out.log\npwd")
        self.assertEqual(done.out, "did 2\n")
        self.assertEqual(self.repo.lines("show", "--format=%s", "--raw", "--abbrev=4", "--no-renames", "HEAD")[0], "worker: echo new > new.txt; rm b.txt; chmod +x a.txt; ln -s a.txt li")
        self.assertEqual(self.repo.lines("diff", "--summary", "--no-renames", self.base, "HEAD"),
                         [" mode change 100644 => 100755 a.txt", " delete mode 100644 b.txt", " create mode 120000 link", " create mode 100644 new.txt"])
        self.assertEqual(self.repo.git("log", "-1", "--format=%an <%ae>"), "moonlet <moonlet@localhost>")
        self.assertIn(f"By run {self.last()}.", self.repo.git("log", "-1", "--format=%b"))
        self.assertEqual(os.readlink(os.path.join(self.work, "link")), "a.txt")
        self.nothing_left()
        self.assertEqual(self.kinds(), ["made", "merging", "merged"])
        made, _, merged = self.events("worktree.made", "worktree.merging", "worktree.merged")
        self.assertEqual((made["body"]["into"], made["body"]["commit"], made["body"]["base"]), ("main", self.base, self.work))
        self.assertEqual(merged["body"]["head"], self.repo.git("rev-parse", "HEAD"))
        self.assertEqual(merged["body"]["files"], 4)
        pwd = [e["body"]["text"] for e in self.events("tool.result")][1]
        self.assertEqual(pwd.split("\n")[0], made["body"]["workspace"])
        self.assertIn("worktree " + made["body"]["dir"], self.moonlet("show", self.last()).out)
        self.assertIn("HEAD@{0}: moonlet: merge", self.repo.git("reflog", "-1"))

    def test_the_repository_says_who_commits(self):
        self.repo.git("config", "user.name", "Ada")
        self.repo.git("config", "user.email", "ada@example.org")
        self.go("echo x >> a.txt")
        self.assertEqual(self.repo.git("log", "-1", "--format=%an <%ae> %cn"), "Ada <ada@example.org> Ada")

    def test_commits_of_the_agent_come_along_and_nothing_to_do_is_fine(self):
        self.go("echo x >> a.txt; git -c user.name=A -c user.email=a@x commit -qam mine\necho y >> b.txt")
        self.assertEqual(self.repo.lines("log", "--format=%s", "-2")[1], "mine")
        head = self.repo.git("rev-parse", "HEAD")
        self.go("cat a.txt")
        self.assertEqual(self.repo.git("rev-parse", "HEAD"), head)
        self.nothing_left()

    def test_side_by_side_different_files_merge(self):
        answers = self.each(*(f"sleep 0.2; test ! -e n{1 - i}.txt && echo {i} > n{i}.txt" for i in range(2)), "echo x >> a.txt", "sed -i 1d c.txt", "sed -i 9d c.txt")
        self.assertTrue(all(a["ok"] for a in answers), answers)
        self.assertEqual(self.repo.lines("diff", "--name-status", self.base, "HEAD"), ["M\ta.txt", "M\tc.txt", "A\tn0.txt", "A\tn1.txt"])
        self.assertEqual(self.repo.read("c.txt").decode(), "".join(f"line {n}\n" for n in range(2, 9)))
        self.nothing_left()
        self.assertEqual(len(self.repo.lines("rev-list", f"{self.base}..HEAD", "--no-merges")), 5)

    def test_the_same_line_conflicts_with_its_path(self):
        answers = self.each("sed -i s/5/x/ a.txt", "sed -i s/5/y/ a.txt; echo n > new.txt")
        bad = [a for a in answers if not a["ok"]]
        self.assertEqual(len(bad), 1, answers)
        error = bad[0]["error"]
        self.assertEqual((error["stop"], error["value"]), ("unmerged", "did 1"))
        self.assertEqual(error["conflicts"], [{"path": "a.txt", "why": "changed on both sides"}])
        self.assertIn("a.txt (changed on both sides)", error["message"])
        self.assertEqual(self.repo.git("status", "--porcelain"), "")
        tree, = self.listed("--here")
        self.assertEqual((tree["state"], tree["ahead"], tree["files"], tree["conflicts"]), ("conflicts", 1, 0, 1))
        self.assertEqual(tree["path"], error["path"])
        self.assertEqual(self.beside(), [os.path.basename(tree["dir"])])
        event, = self.events("worktree.unmerged")
        self.assertEqual(event["body"]["conflicts"], error["conflicts"])
        self.assertEqual(Repo(tree["dir"], self.env, init=False).git("status", "--porcelain"), "")
        # Solved by hand, it can be merged.
        work = Repo(tree["dir"], self.env, init=False)
        work.run("merge", "main", check=False)
        work.write("a.txt", lines(9).replace("5", "z"))
        work.commit("solve")
        done = self.moonlet("worktrees", "merge", tree["run"])
        self.assertEqual(done.code, 0, done)
        self.assertIn(b"line z", self.repo.read("a.txt"))
        self.nothing_left()

    def test_a_workspace_that_is_a_folder(self):
        sub = os.path.join(self.work, "dir")
        done = self.go("pwd > where.txt; echo top >> ../a.txt", cwd=sub)
        self.assertEqual(done.out, "did 1\n")
        run = self.last()
        self.assertEqual(self.repo.read("dir/where.txt").decode().strip(), f"{self.work}-{run}/dir")
        self.assertIn(b"top", self.repo.read("a.txt"))
        self.nothing_left()

    def test_one_within_another(self):
        text = WORKER + """
        local inner = worker { name = "inner" }
        return worker { name = "outer", tools = { inner:as_tool { name = "inner" }, "shell" }, model = moon.model.script(function(r)
          local n = 0
          for _, m in ipairs(r.messages) do if m.role == "tool" then n = n + 1 end end
          if n == 0 then return { tool_calls = { { name = "shell", arguments = { command = "echo outer > o.txt" } } } } end
          if n == 1 then return { tool_calls = { { name = "inner", arguments = { input = "pwd > i.txt; ls" } } } } end
          if n == 2 then return { tool_calls = { { name = "shell", arguments = { command = "cat i.txt" } } } } end
          return r.messages[#r.messages].content
        end) }"""
        # What the outer one has not committed is not in the inner one, and not in its way.
        done = self.go("go", text=text)
        run = self.last()
        self.assertTrue(done.out.startswith(f"{self.work}-{run}-c2.1\n"), done)
        self.assertEqual(self.repo.lines("diff", "--name-only", self.base, "HEAD"), ["i.txt", "o.txt"])
        self.nothing_left()

    def test_with_sets_it_and_shared_takes_it_away(self):
        self.go("pwd > where.txt", text=WORKER + 'return worker { workspace = "shared" }:with { workspace = "worktree" }')
        self.assertEqual(self.kinds(), ["made", "merging", "merged"])
        self.go("pwd > where.txt", text=WORKER + 'return worker():with { workspace = "shared" }')
        self.assertEqual((self.kinds(), self.repo.read("where.txt").decode().strip()), ([], self.work))
        done = self.go("x", text=WORKER + 'return worker { workspace = "own" }', code=2)
        self.assertIn('agent field "workspace" must be "worktree" or "shared"', done.err)


class Refusing(Worktrees):
    def refused(self, task, *texts, conflicts=None, code=1):
        status = self.repo.git("status", "--porcelain")
        head = self.repo.git("rev-parse", "HEAD")
        done = self.go(task, code=code)
        self.assertEqual(done.out, "did 1\n")
        for text in texts:
            self.assertIn(text, done.err)
        self.assertEqual((self.repo.git("status", "--porcelain"), self.repo.git("rev-parse", "HEAD")), (status, head))
        event, = self.events("worktree.unmerged")
        if conflicts is not None:
            self.assertEqual([c["path"] for c in event["body"].get("conflicts", [])], conflicts)
        self.assertEqual(len(self.branches()), 1)
        return done

    def resumed(self):
        done = self.moonlet("resume", self.last())
        self.assertEqual((done.code, done.out), (0, "did 1\n"), done)
        self.nothing_left_but_mine()

    def nothing_left_but_mine(self):
        self.assertEqual((self.beside(), self.branches()), ([], []))

    def test_changes_of_the_base_in_the_way(self):
        self.repo.write("a.txt", "mine\n")
        done = self.refused("echo x >> a.txt; echo y >> b.txt", "a.txt (it has changes in the base)", conflicts=["a.txt"])
        self.assertIn("1 file of the workspace is not committed", done.err)
        self.assertEqual(self.repo.read("a.txt"), b"mine\n")
        self.assertEqual(self.repo.read("b.txt").decode(), lines(9))
        self.repo.git("checkout", "a.txt")
        self.resumed()
        self.assertTrue(self.repo.read("a.txt").endswith(b"x\n"))

    def test_other_changes_of_the_base_stay_as_they_are(self):
        self.repo.write("a.txt", "mine\n")
        self.repo.write("b.txt", "staged\n")
        self.repo.git("add", "b.txt")
        self.repo.write("own.txt", "own\n")
        self.go("echo x >> c.txt; echo n > n.txt")
        self.assertEqual(self.repo.git("status", "--porcelain"), " M a.txt\nM  b.txt\n?? own.txt")
        self.assertEqual(self.repo.lines("diff", "--name-only", self.base, "HEAD"), ["c.txt", "n.txt"])
        self.nothing_left_but_mine()

    def test_each_kind_of_thing_in_the_way(self):
        def staged():
            self.repo.write("a.txt", "mine\n")
            self.repo.git("add", "a.txt")
            self.repo.write("a.txt", lines(9))

        rows = (
            ("untracked", lambda: self.repo.write("n.txt", "mine\n"), "echo n > n.txt", "n.txt", "does not know"),
            ("ignored", lambda: self.repo.write("n.log", "mine\n"), "echo n > n.log; git add -f n.log", "n.log", "does not know"),
            ("staged", staged, "echo n >> a.txt", "a.txt", "staged"),
            ("deleted", lambda: os.unlink(os.path.join(self.work, "a.txt")), "echo n >> a.txt", "a.txt", "has changes"),
            ("mode", lambda: os.chmod(os.path.join(self.work, "a.txt"), 0o755), "echo n >> a.txt", "a.txt", "has changes"),
            ("directory", lambda: self.repo.write("n.txt/x", "mine\n"), "echo n > n.txt", "n.txt", "no file"),
            ("parent", lambda: self.repo.write("deep", "mine\n"), "mkdir deep; echo n > deep/n.txt", "deep/n.txt", "in the way"),
            ("link above", lambda: os.symlink("/tmp", os.path.join(self.work, "deep")), "mkdir deep; echo n > deep/n.txt", "deep/n.txt", "in the way"),
            ("gone for good", lambda: self.repo.write("a.txt", "mine\n"), "rm a.txt", "a.txt", "has changes"),
        )
        for label, spoil, task, path, why in rows:
            with self.subTest(label):
                spoil()
                self.refused(task, f"{path} (", why, conflicts=[path])
                self.assertEqual(self.moonlet("worktrees", "remove", "--force", self.last()).code, 0)
                self.repo.git("reset", "-q", "--hard")
                self.repo.git("clean", "-qffdx")
                self.nothing_left()

    def test_what_already_is_as_it_will_be_is_not_in_the_way(self):
        self.repo.write("n.txt", "same\n")
        self.go("echo same > n.txt")
        self.nothing_left()

    def test_a_locked_index_another_branch_and_an_unfinished_merge(self):
        lock = os.path.join(self.work, ".git/index.lock")
        pathlib.Path(lock).write_text("")
        self.refused("echo x >> a.txt", "the index is locked")
        os.unlink(lock)
        self.resumed()
        self.refused("git -C ../work checkout -q -b other; echo x >> b.txt", "has other checked out, not main")
        self.repo.git("checkout", "-q", "main")
        self.resumed()
        self.refused("echo x >> c.txt; git checkout -q -b mine", "does not have moonlet/")
        self.moonlet("worktrees", "remove", "--force", self.last())

    def test_where_there_can_be_none(self):
        def bare():
            self.repo.git("clone", "-q", "--bare", ".", "../bare.git")
            return os.path.join(self.dir, "bare.git")

        def unborn():
            return Repo(os.path.join(self.dir, "unborn"), self.env).path

        def plain():
            os.makedirs(os.path.join(self.dir, "plain"))
            return os.path.join(self.dir, "plain")

        def detached():
            self.repo.git("clone", "-q", ".", "../detached")
            Repo(os.path.join(self.dir, "detached"), self.env, init=False).git("checkout", "-q", "--detach")
            return os.path.join(self.dir, "detached")

        def submodule():
            outer = Repo(os.path.join(self.dir, "outer"), self.env)
            outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", self.work, "sub")
            outer.commit("outer")
            return outer.path

        for make, text in ((plain, "not a git repository"), (bare, "is bare"), (unborn, "has no commit yet"), (detached, "HEAD is detached"),
                           (submodule, "has a submodule (sub)"), (lambda: os.path.join(self.dir, "outer/sub"), "is a submodule of another repository")):
            where = make()
            with self.subTest(text):
                done = self.go("echo x > x", code=2, cwd=where)
                self.assertIn("no worktree can be made of the workspace: ", done.err)
                self.assertIn(text, done.err)
                self.assertNotIn("model.request", self.moonlet("show", "--events", self.last()).out)
        if os.geteuid():
            os.chmod(os.path.join(self.work, ".git"), 0o500)
            self.assertIn("cannot be written", self.go("echo x > x", code=2).err)
            os.chmod(os.path.join(self.work, ".git"), 0o700)


class Surviving(Worktrees):
    def hold_merges(self):
        """Takes the lock that every merge takes; gives what lets go of it."""
        lock = open(os.path.join(self.work, ".git/moonlet.lock"), "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock.close

    def killed_before_its_merge(self, task, text=ONE):
        """A run that has committed, and told of its merge, and no more."""
        release = self.hold_merges()
        process = self.start("run", self.script(text), task)
        self.wait_for(lambda: self.moonlet("runs", "--json").out.strip() not in ("", "[]") and "merging" in self.kinds(), "the intent")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return release

    def test_killed_between_commit_and_merge(self):
        release = self.killed_before_its_merge("echo x >> a.txt")
        self.assertEqual(self.repo.git("rev-parse", "HEAD"), self.base)
        release()
        done = self.moonlet("resume", self.last())
        self.assertEqual((done.code, done.out), (0, "did 1\n"), done)
        self.assertEqual(self.kinds(), ["made", "merging", "merged"])
        self.assertEqual(self.repo.lines("rev-list", f"{self.base}..HEAD"), [self.repo.git("rev-parse", "HEAD")])
        self.assertEqual([e["body"]["call"] for e in self.events("tool.intent")], ["c1"])
        self.nothing_left()

    def test_killed_after_the_merge_it_is_not_made_again(self):
        release = self.killed_before_its_merge("echo x >> a.txt")
        release()
        self.assertEqual(self.moonlet("worktrees", "merge", self.last()).code, 0)  # what the run itself would have done
        self.repo.add_line("b.txt", "and more")
        self.repo.commit("more")
        head = self.repo.git("rev-parse", "HEAD")
        done = self.moonlet("resume", self.last())
        self.assertEqual((done.code, done.out), (0, "did 1\n"), done)
        self.assertEqual(self.repo.git("rev-parse", "HEAD"), head)
        self.assertEqual(self.kinds()[-1], "merged")
        self.nothing_left()

    def test_killed_within_the_merge_it_goes_on_there(self):
        release = self.killed_before_its_merge("echo x >> a.txt; echo n > n.txt; rm b.txt")
        # Half of the files, the lock of the index, no branch.
        self.repo.write("n.txt", "n\n")
        os.unlink(os.path.join(self.work, "b.txt"))
        self.repo.git("add", "n.txt")
        self.repo.write(".git/index.lock", "moonlet merge\n")
        release()
        done = self.moonlet("resume", self.last())
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.repo.lines("diff", "--name-status", self.base, "HEAD"), ["M\ta.txt", "D\tb.txt", "A\tn.txt"])
        self.nothing_left()

    def test_killed_with_the_branch_moved_and_the_index_locked(self):
        release = self.killed_before_its_merge("echo x >> a.txt")
        branch, = self.branches()
        self.repo.git("merge", "-q", "--ff-only", branch)
        self.repo.write(".git/index.lock", "moonlet merge\n")
        release()
        self.assertEqual(self.moonlet("resume", self.last()).code, 0)
        self.assertFalse(os.path.exists(os.path.join(self.work, ".git/index.lock")))
        self.nothing_left()

    def test_killed_while_it_is_removed(self):
        release = self.killed_before_its_merge("echo x >> a.txt")
        branch, = self.branches()
        self.repo.git("merge", "-q", "--ff-only", branch)
        tree, = self.listed()
        admin = Repo(tree["dir"], self.env, init=False).git("rev-parse", "--absolute-git-dir")
        pathlib.Path(admin, "moonlet-remove").write_text("")
        os.unlink(os.path.join(tree["dir"], "a.txt"))
        release()
        self.assertEqual(self.moonlet("resume", self.last()).code, 0)
        self.assertEqual(self.repo.read("a.txt").decode(), lines(9) + "x\n")  # what is gone there is not gone here
        self.nothing_left()

    def test_killed_while_it_works_and_resumed(self):
        flag = os.path.join(self.dir, "go-on")
        task = f"echo 1 > one.txt\nwhile ! test -e {flag}; do sleep 0.05; done\necho 2 > two.txt; cat one.txt"
        process = self.start("run", self.script(), task)
        self.wait_for(lambda: self.moonlet("runs", "--json").out.strip() not in ("", "[]") and len(self.events("tool.intent")) == 2, "the second call")
        tree, = self.listed()
        self.assertEqual((tree["state"], tree["files"]), ("in use", 1))
        for action in ("merge", "remove"):
            done = self.moonlet("worktrees", action, self.last())
            self.assertEqual(done.code, 1)
            self.assertIn("in use", done.err)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pathlib.Path(flag).write_text("")
        done = self.moonlet("resume", self.last(), "--unknown", "retry")
        self.assertEqual((done.code, done.out), (0, "did 3\n"), done)
        self.assertEqual(self.repo.lines("diff", "--name-only", self.base, "HEAD"), ["one.txt", "two.txt"])
        self.assertEqual(len(self.events("worktree.made")), 1)
        self.nothing_left()

    def test_interrupted_and_failed_runs_leave_it(self):
        process = self.start("run", self.script(), "echo 1 > one.txt\nsleep 60")
        self.wait_for(lambda: self.moonlet("runs", "--json").out.strip() not in ("", "[]") and len(self.events("tool.intent")) == 2, "the second call")
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(process).code, 130)
        tree, = self.listed()
        self.assertEqual((tree["state"], tree["files"], tree["ahead"]), ("unmerged", 1, 0))
        self.assertEqual(self.kinds(), ["made"])
        self.assertEqual(self.repo.git("rev-parse", "HEAD"), self.base)
        self.go("echo 2 > two.txt\necho 3 > three.txt", "--limit", "steps=1", code=3)
        self.assertEqual(len(self.listed()), 2)
        done = self.moonlet("resume", self.last(), "--limit", "steps=9")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.repo.lines("diff", "--name-only", self.base, "HEAD"), ["three.txt", "two.txt"])

    def test_one_that_is_gone_is_an_error_that_says_so(self):
        self.go("echo 2 > two.txt\necho 3 > three.txt", "--limit", "steps=1", code=3)
        tree, = self.listed()
        self.repo.git("worktree", "remove", "--force", tree["dir"])
        done = self.moonlet("resume", self.last(), "--limit", "steps=9")
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"the worktree of this run is gone: {tree['dir']}", done.err)

    def test_a_fork_begins_with_the_files_of_then_in_one_of_its_own(self):
        self.go("echo 1 > one.txt\ncat one.txt > two.txt", "--limit", "steps=1", code=3)
        run = self.last()
        done = self.moonlet("fork", run, "--limit", "steps=9")
        self.assertEqual(done.code, 0, done)
        fork = self.last()
        self.assertNotEqual(fork, run)
        self.assertEqual(self.repo.read("two.txt"), b"1\n")
        tree, = self.listed()
        self.assertEqual((tree["run"], tree["state"], tree["files"]), (run, "unmerged", 1))
        # A conversation that goes on after its work was merged has it.
        done = self.moonlet("fork", fork, "--input", "echo 3 > three.txt")
        self.assertEqual(done.code, 0, done)

    def test_a_replay_touches_nothing(self):
        self.go("echo x >> a.txt")
        head, run = self.repo.git("rev-parse", "HEAD"), self.last()
        done = self.moonlet("replay", run)
        self.assertEqual((done.code, done.out), (0, "did 1\n"), done)
        done = self.moonlet("replay", run, "--live-tools", "--yes")
        self.assertEqual(done.code, 1, done)
        self.assertIn("cannot be called again in a replay", done.err)
        self.assertEqual(self.repo.git("rev-parse", "HEAD"), head)
        self.nothing_left()

    def test_a_file_that_was_read_in_it_is_known_after_a_resume(self):
        text = WORKER + """
        return worker { model = moon.model.script(function(r)
          local n = 0
          for _, m in ipairs(r.messages) do if m.role == "tool" then n = n + 1 end end
          if n == 0 then return { tool_calls = { { name = "file.read", arguments = { path = "a.txt" } } } } end
          if n == 1 then return { tool_calls = { { name = "file.edit", arguments = { path = "a.txt", old = "line 1\\n", new = "first\\n" } } } } end
          return r.messages[#r.messages].content
        end) }"""
        self.go("go", "--limit", "steps=1", text=text, code=3)
        tree, = self.listed()
        with open(os.path.join(tree["dir"], "a.txt"), "a", encoding="utf-8") as out:
            out.write("somebody else\n")
        done = self.moonlet("resume", self.last(), "--limit", "steps=9")
        self.assertIn("has changed since", done.out)


class Commands(Worktrees):
    def test_list_merge_and_remove(self):
        self.assertEqual(self.moonlet("worktrees").code, 0)
        self.go("echo 1 > one.txt\necho 2 > two.txt", "--limit", "steps=1", code=3)
        run = self.last()
        out = self.moonlet("worktrees").out
        self.assertIn(f"{run}:root  worker  unmerged: 1 uncommitted file\n  {self.work}-{run}\n", out)
        done = self.moonlet("worktrees", "remove", run)
        self.assertEqual(done.code, 1)
        self.assertIn("holds 1 file that is not committed", done.err)
        done = self.moonlet("worktrees", "merge", f"{run[:14]}:root")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.repo.lines("diff", "--name-only", self.base, "HEAD"), ["one.txt"])
        self.nothing_left()

    def test_which_one_is_meant(self):
        self.each("sed -i s/5/x/ a.txt", "sed -i s/5/y/ a.txt", "sed -i s/5/z/ a.txt")
        run = self.last()
        left = self.listed()
        self.assertEqual(len(left), 2)
        done = self.moonlet("worktrees", "remove", run)
        self.assertEqual(done.code, 2)
        for tree in left:
            self.assertIn(f"{run}:{tree['path']}", done.err)
        done = self.moonlet("worktrees", "merge", f"{run}:{left[0]['path']}")
        self.assertEqual(done.code, 1)
        self.assertIn("a.txt: changed on both sides", done.err)
        for tree in left:
            self.assertEqual(self.moonlet("worktrees", "remove", f"{run}:{tree['path']}", "--force").code, 0)
        self.nothing_left()

    def test_all_repositories_or_this_one(self):
        other = Repo(os.path.join(self.dir, "other"), self.env)
        other.write("a.txt", "a\n")
        other.commit("begin")
        self.go("echo 1 > one.txt\necho", "--limit", "steps=1", code=3)
        self.go("echo 1 > one.txt\necho", "--limit", "steps=1", code=3, cwd=other.path)
        self.assertEqual(sorted(t["base"] for t in self.listed()), sorted([self.work, other.path]))
        self.assertEqual([t["base"] for t in self.listed("--here", cwd=other.path)], [other.path])
        done = self.moonlet("worktrees", "--here", cwd=self.dir)
        self.assertEqual(done.code, 2)
        self.assertIn("not a git repository", done.err)

    def test_wrong_uses(self):
        for args in (["list"], ["merge"], ["merge", "1", "2"], ["merge", "1", "--force"], ["remove", "1", "--json"]):
            self.assertEqual(self.moonlet("worktrees", *args).code, 2, args)
        self.assertEqual(self.moonlet("worktrees", "merge", "nope").code, 2)

    def test_gc_leaves_what_is_not_merged(self):
        self.go("echo 1 > one.txt\necho", "--limit", "steps=1", code=3)
        self.go("cat a.txt\ncat b.txt", "--limit", "steps=1", code=3)
        self.assertEqual([t["state"] for t in self.listed()].count("merged"), 1)
        self.assertEqual(self.moonlet("gc", "--keep", "0s").code, 0)
        tree, = self.listed("--here")
        self.assertEqual(tree["state"], "unmerged")

    def test_what_cannot_be_committed_keeps_it(self):
        self.go("mkdir sub; cd sub; git init -q; echo 1 > f; cd ..; echo x >> a.txt")
        tree, = self.listed()
        self.assertEqual((tree["state"], tree["files"], tree["ahead"]), ("unmerged", 1, 0))
        self.assertTrue(self.repo.read("a.txt").endswith(b"x\n"))
        warning = [e["body"]["text"] for e in self.events("log")]
        self.assertIn("the worktree is merged, and stays", warning[-1])


if __name__ == "__main__":
    harness.main()
