# SPDX-License-Identifier: MIT
"""Snapshots of the workspace: what is in them, compared with the git program; what is not touched; forks in worktrees; odd repositories."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import unittest

import harness
from fixtures import Repo

# An agent that runs one shell command a step.
STEPS = """
local function script(steps)
  return moon.model.script(function(r)
    local n = 0
    for _, m in ipairs(r.messages) do if m.role == "tool" then n = n + 1 end end
    local step = steps[n + 1]
    if step then return { tool_calls = { { name = "shell", arguments = { command = step } } } } end
    return "the end"
  end)
end
"""


class Snapshots(harness.Case):
    def setUp(self):
        super().setUp()
        self.repo = Repo(self.work, self.env)
        self.repo.write("a.txt", "one\n")
        self.repo.write("dir/b.txt", "two\n")
        self.repo.write(".gitignore", "*.log\n")
        self.base = self.repo.commit("begin")

    def script(self, *commands, name="probe", more="snapshots = true", tools='"shell"'):
        path = os.path.join(self.dir, f"{name}.lua")
        steps = ", ".join(json.dumps(c) for c in commands)
        pathlib.Path(path).write_text(
            f'local moon = require "moonlet"\n{STEPS}\nreturn moon.agent {{ name = "{name}", model = script {{ {steps} }}, tools = {{ {tools} }},'
            f' policy = {{ ["*"] = "allow" }}, {more} }}\n')
        return path

    def go(self, *commands, code=0, cwd=None, args=(), **options):
        done = self.moonlet("run", self.script(*commands, **options), "go", *args, cwd=cwd)
        self.assertEqual(done.code, code, done)
        return done

    def runs(self):
        return json.loads(self.moonlet("runs", "--json", "--limit", "0").out)

    def last(self):
        return self.runs()[0]["run"]

    def events(self, run, *types):
        lines = [json.loads(line) for line in self.moonlet("show", run, "--events").out.splitlines()]
        return [e for e in lines if not types or e["type"] in types]

    def snapshots(self, run=None):
        return self.events(run or self.last(), "snapshot.taken")

    def warnings(self, run=None):
        return [e["body"]["text"] for e in self.events(run or self.last(), "log") if e["body"]["level"] == "warn"]

    def refs(self, repo=None):
        return (repo or self.repo).lines("for-each-ref", "--format=%(refname)", "refs/moonlet")

    def staged(self, repo=None):
        """The tree that git itself makes of the work tree."""
        repo = repo or self.repo
        env = dict(self.env, GIT_INDEX_FILE=os.path.join(self.dir, "reference-index"))
        reference = Repo(repo.path, env, init=False)
        if os.path.exists(env["GIT_INDEX_FILE"]):
            os.unlink(env["GIT_INDEX_FILE"])
        own = os.path.join(repo.path, repo.git("rev-parse", "--git-path", "index"))
        if os.path.exists(own):
            shutil.copy2(own, env["GIT_INDEX_FILE"])
        reference.git("add", "-A")
        return reference.git("write-tree")

    def state(self, repo=None):
        """What snapshots must not touch."""
        repo = repo or self.repo
        git = pathlib.Path(repo.git("rev-parse", "--absolute-git-dir"))
        files = {name: hashlib.sha256((git / name).read_bytes()).hexdigest() for name in ("index", "HEAD", "config") if (git / name).exists()}
        return files, repo.git("for-each-ref", "refs/heads", "refs/tags"), repo.git("stash", "list")

    def tree(self, event):
        return self.repo.git("rev-parse", event["body"]["ref"] + "^{tree}")


class Taking(Snapshots):
    def test_one_before_the_first_change_and_one_after_each_step_that_wrote(self):
        before = self.state()
        self.go("echo new > new.txt; echo no > out.log", "cat a.txt", "echo more >> a.txt; rm dir/b.txt")
        self.assertEqual(self.state(), before)
        run = self.last()
        taken = self.snapshots()
        events = {e["seq"]: e for e in self.events(run)}
        self.assertEqual([e["body"]["files"] for e in taken], [0, 1, 2])
        self.assertEqual([e["body"]["at"] for e in taken][0], 0)
        for e in taken[1:]:  # named after the result before it
            self.assertEqual(events[e["body"]["at"]]["type"], "tool.result")
            self.assertEqual(e["seq"], e["body"]["at"] + 1)
        self.assertEqual(sorted(self.refs()), sorted(e["body"]["ref"] for e in taken))
        self.assertEqual([e["body"]["ref"] for e in taken], [f"refs/moonlet/{run}/{e['body']['at']}" for e in taken])
        for e in taken:
            self.assertEqual(self.repo.git("rev-parse", e["body"]["ref"]), e["body"]["commit"])
            self.assertEqual((self.tree(e), e["body"]["head"]), (e["body"]["tree"], self.base))
        self.assertEqual(self.tree(taken[0]), self.repo.git("rev-parse", "HEAD^{tree}"))
        self.assertEqual(self.tree(taken[2]), self.staged())
        self.assertEqual(self.repo.lines("diff", "--name-status", taken[1]["body"]["ref"], taken[2]["body"]["ref"]), ["M\ta.txt", "D\tdir/b.txt"])
        self.assertEqual(self.repo.lines("log", "--format=%s", taken[2]["body"]["ref"]),
                         ["probe: shell", "probe: shell", "probe: before its first change", "begin"])
        self.repo.git("fsck", "--strict")
        self.assertIn(f"snapshot refs/moonlet/{run}/0: the workspace before the run", self.moonlet("show", run).out)
        self.assertEqual(self.warnings(), [])

    def test_nothing_is_taken_unasked_or_where_nothing_is_written(self):
        self.go("echo new > new.txt", more="")
        self.go("echo new > new2.txt", more="snapshots = false")
        self.go(more="snapshots = true")
        script = self.script(name="reader", tools='"file.read"')
        self.assertEqual(self.moonlet("run", script, "go", "--snapshots").code, 0)
        self.assertEqual(self.refs(), [])

    def test_the_command_line_and_the_configuration_ask_too(self):
        self.go("echo 1 > new.txt", more="snapshots = false", args=["--snapshots"])
        self.assertEqual(len(self.snapshots()), 2)
        self.repo.write(".moonlet/config.lua", "return { snapshots = true }\n")
        os.makedirs(os.path.join(self.home, "config", "moonlet"), exist_ok=True)
        self.go("echo 2 > new.txt", more="")
        self.assertEqual(len(self.snapshots()), 2)
        self.go("echo 3 > new.txt", more="snapshots = false")
        self.assertEqual(len(self.snapshots()), 0)
        # The journal lies in the work tree now, and is no part of it.
        self.assertTrue(os.path.exists(os.path.join(self.work, ".moonlet/journal.db")))
        self.go("echo 4 > new.txt", more="")
        names = self.repo.lines("ls-tree", "-r", "--name-only", self.snapshots()[-1]["body"]["ref"])
        self.assertEqual([n for n in names if n.startswith(".moonlet")], [".moonlet/config.lua"])

    def test_links_bits_strange_names_and_kinds_that_change(self):
        self.repo.write("to_dir", "x\n")
        self.repo.write("to_link", "x\n")
        self.repo.write("was_dir/in.txt", "x\n")
        self.repo.write("crlf.txt", "a\nb\n")
        self.repo.write(".gitattributes", "crlf.txt text\nraw.bin filter=never diff=never\n")
        self.repo.commit("kinds")
        self.repo.git("config", "filter.never.clean", f"touch {self.dir}/ran; cat")
        fifo = "mkfifo pipe"
        self.go("chmod +x a.txt; ln -s dir/b.txt link; ln -s nowhere broken; ln -s dir folder", "rm to_dir to_link; mkdir to_dir; echo y > to_dir/y; ln -s a.txt to_link",
                "rm -r was_dir; echo z > was_dir", "printf 'a\\r\\nb\\r\\n' > crlf.txt", "printf raw > raw.bin", fifo,
                "printf q > 'new\nline'; printf q > $(printf 'latin-\\351'); mkdir -p empty/er; : > nothing", "chmod -x a.txt; rm link")
        self.repo.git("config", "--unset", "filter.never.clean")
        last = self.snapshots()[-1]
        self.assertEqual(self.tree(last), self.staged())
        self.assertFalse(os.path.exists(os.path.join(self.dir, "ran")))
        self.assertEqual(self.warnings(), [])

    def test_what_changes_within_one_tick_with_the_same_size_is_seen(self):
        self.go(*[f"printf {n:04} > same" for n in range(12)])
        taken = self.snapshots()
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":same") for e in taken[1:]], [f"{n:04}" for n in range(12)])

    def test_what_is_staged_ignored_or_in_conflict_stays_the_users(self):
        self.repo.write("forced.log", "kept\n")
        self.repo.git("add", "-f", "forced.log")
        self.repo.write("a.txt", "staged\n")
        self.repo.git("add", "a.txt")
        self.repo.write("a.txt", "and changed again\n")
        self.repo.write("intended.txt", "")
        self.repo.git("add", "-N", "intended.txt")
        self.repo.git("update-index", "--assume-unchanged", "dir/b.txt")
        before = self.state()
        self.go("echo unseen > dir/b.txt; echo x > x.txt")
        self.assertEqual(self.state(), before)
        last = self.snapshots()[-1]
        show = lambda path: self.repo.git("show", f"{last['body']['ref']}:{path}")
        self.assertEqual([show(p) for p in ("forced.log", "a.txt", "intended.txt", "dir/b.txt", "x.txt")], ["kept", "and changed again", "", "unseen", "x"])

    def test_a_merge_that_is_going_on_is_kept_with_its_marks(self):
        self.repo.git("checkout", "-q", "-b", "side")
        self.repo.write("a.txt", "side\n")
        self.repo.commit("side")
        self.repo.git("checkout", "-q", "main")
        self.repo.write("a.txt", "main\n")
        self.repo.commit("main")
        self.assertNotEqual(self.repo.run("merge", "side", check=False).returncode, 0)
        before = self.state()
        self.go("echo x > x.txt")
        self.assertEqual(self.state(), before)
        self.assertIn("<<<<<<<", self.repo.git("show", self.snapshots()[-1]["body"]["ref"] + ":a.txt"))
        self.assertEqual(self.repo.git("diff", "--name-only", "--diff-filter=U"), "a.txt")

    def test_commits_of_the_agent_are_second_parents(self):
        self.go("echo c > c.txt", "git add -A; git -c user.name=x -c user.email=x@example.org commit -qm agent; echo d > d.txt", "echo e > e.txt")
        taken = self.snapshots()
        head = self.repo.git("rev-parse", "HEAD")
        parents = [self.repo.git("rev-parse", e["body"]["ref"] + "^@").splitlines() for e in taken]
        ids = [e["body"]["commit"] for e in taken]
        self.assertEqual(parents, [[self.base], [ids[0]], [ids[1], head], [ids[2]]])

    def test_a_large_file_is_left_out_and_said_once(self):
        self.go("truncate -s 80M big.bin; echo 1 > one", "echo 2 > one", "truncate -s 81M big.bin; echo 3 > one")
        self.assertEqual(self.warnings(), ["big.bin is left out of snapshots: it is over 64 MiB"])
        self.assertNotIn("big.bin", self.repo.lines("ls-tree", "-r", "--name-only", self.snapshots()[-1]["body"]["ref"]))

    def test_repositories_within_are_left_out_and_submodules_stay(self):
        other = Repo(os.path.join(self.dir, "other"), self.env)
        other.write("s.txt", "s\n")
        other.commit("other")
        self.repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other.path, "sub")
        gitlink = self.repo.commit("sub")
        gitlink = self.repo.git("rev-parse", "HEAD:sub")
        self.go("git init -q nested; echo n > nested/n.txt; echo w > w.txt", "cd sub && git -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m moved; echo s >> s.txt; echo v > ../v.txt")
        last = self.snapshots()[-1]["body"]["ref"]
        self.assertEqual(self.warnings(), ["nested/ is left out of snapshots: it is a repository of its own"])
        self.assertEqual(self.repo.git("rev-parse", last + ":sub"), gitlink)
        names = self.repo.lines("ls-tree", "-r", "--name-only", last)
        self.assertIn("w.txt", names)
        self.assertIn("v.txt", names)
        self.assertFalse([n for n in names if n.startswith("nested")])

    def test_only_what_changed_is_read_again(self):
        """An index that is in place is used: a file whose times say that it has not changed keeps its recorded content."""
        self.go("echo b > b.txt", "touch -d '2001-02-03' old.txt; cat a.txt > /dev/null", "cp -p old.txt keep; printf 'new\\n' > fresh")
        objects = self.repo.lines("count-objects", "-v")
        self.assertTrue(objects)
        last = self.snapshots()[-1]
        self.assertEqual(self.tree(last), self.staged())

    def test_nothing_is_left_in_the_temporary_directory(self):
        self.go("echo b > b.txt")
        self.assertEqual(os.listdir(self.env["TMPDIR"]), [])

    def test_children_of_one_run_share_its_line(self):
        path = os.path.join(self.dir, "tree.lua")
        pathlib.Path(path).write_text(f"""local moon = require "moonlet"
{STEPS}
local function agent(name, n)
  return moon.agent {{ name = name, model = script {{ "echo " .. n .. " > " .. name .. ".txt", "echo more >> " .. name .. ".txt" }}, tools = {{ "shell" }}, policy = {{ shell = "allow" }} }}
end
local one, two = agent("one", 1), agent("two", 2)
return function() assert(one:run("x")); assert(two:run("x")); return "done" end
""")
        done = self.moonlet("run", path, "go", "--snapshots")
        self.assertEqual(done.code, 0, done)
        taken = self.snapshots()
        self.assertEqual([e["path"] for e in taken], ["1", "1", "1", "2", "2"])
        self.assertEqual([e["body"]["files"] for e in taken], [0, 1, 1, 1, 1])
        self.assertEqual(self.tree(taken[-1]), self.staged())
        ids = [e["body"]["commit"] for e in taken]
        self.assertEqual(self.repo.lines("rev-list", ids[-1])[:5], ids[::-1])

    def test_tools_that_a_script_runs_itself(self):
        path = os.path.join(self.dir, "tools.lua")
        pathlib.Path(path).write_text("""local moon = require "moonlet"
local write, read = moon.tool "file.write", moon.tool "file.read"
return moon.chain.seq {
  function() return { path = "t.txt", content = "1" } end, write,
  function() return { path = "t.txt" } end, read,
  function() return { path = "t.txt", content = "2" } end, write,
}
""")
        done = self.moonlet("run", path, "go", "--snapshots", "--yes")
        self.assertEqual(done.code, 0, done)
        taken = self.snapshots()
        self.assertEqual([e["body"]["files"] for e in taken], [0, 1, 1])
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":t.txt") for e in taken[1:]], ["1", "2"])
        done = self.moonlet("call", "file.write", '{"path":"u.txt","content":"u"}', "--yes")
        self.assertEqual((done.code, done.err), (0, ""), done)

    def test_a_script_that_a_model_writes_is_one_step(self):
        path = os.path.join(self.dir, "code.lua")
        pathlib.Path(path).write_text("""local moon = require "moonlet"
return moon.agent { name = "coder", snapshots = true, policy = { file = "allow" }, tools = { "lua", "file" }, model = moon.model.script {
  { tool_calls = { { name = "lua", arguments = { script = "for i = 1, 3 do file.write { path = 'f' .. i, content = tostring(i) } end return 'x'" } } } },
  { tool_calls = { { name = "lua", arguments = { script = "return file.read { path = 'f1' }" } } } },
  "the end" } }
""")
        done = self.moonlet("run", path, "go")
        self.assertEqual(done.code, 0, done)
        taken = self.snapshots()
        self.assertEqual([e["body"]["files"] for e in taken], [0, 3])
        self.assertEqual(self.tree(taken[-1]), self.staged())

    def test_what_another_agent_changed_before_is_not_what_was_before_the_run(self):
        path = os.path.join(self.dir, "mixed.lua")
        pathlib.Path(path).write_text(f"""local moon = require "moonlet"
{STEPS}
local function agent(name, more)
  return moon.agent {{ name = name, model = script {{ "echo " .. name .. " >> a.txt" }}, tools = {{ "shell" }}, policy = {{ shell = "allow" }}, snapshots = more }}
end
local quiet, kept = agent("quiet", nil), agent("kept", true)
return function() assert(quiet:run("x")); assert(kept:run("x")); return "done" end
""")
        self.assertEqual(self.moonlet("run", path, "go").code, 0)
        taken = self.snapshots()
        self.assertEqual([e["body"]["at"] == e["seq"] - 1 for e in taken], [True, True])
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":a.txt") for e in taken], ["one\nquiet", "one\nquiet\nkept"])

    def test_runs_side_by_side_in_one_repository(self):
        scripts = [self.script(*[f"echo {i}{n} > f{i}_{n}" for n in range(4)], name=f"p{i}") for i in range(4)]
        started = [self.start("run", s, "go") for s in scripts]
        for process in started:
            done = self.finish(process)
            self.assertEqual(done.code, 0, done)
        for run in self.runs():
            taken = self.snapshots(run["run"])
            self.assertGreaterEqual(len(taken), 5)
            self.assertEqual(self.warnings(run["run"]), [])
        self.repo.git("fsck", "--strict")


class Places(Snapshots):
    def test_without_a_repository_the_run_says_so_once_and_goes_on(self):
        plain = os.path.join(self.dir, "plain")
        os.mkdir(plain)
        done = self.go("echo 1 > one", "echo 2 > two", cwd=plain)
        self.assertEqual(done.err.count("no snapshots of the workspace are taken: not a git repository"), 1, done)
        self.assertEqual((done.out, len(self.warnings())), ("the end\n", 1))
        self.assertEqual(sorted(os.listdir(plain)), ["one", "two"])

    def test_a_bare_repository_has_none(self):
        bare = Repo(os.path.join(self.dir, "bare.git"), self.env, bare=True)
        done = self.go("echo 1 > one", cwd=bare.path)
        self.assertIn("is bare: it has no work tree", done.err)

    def test_a_run_that_is_not_kept_has_none(self):
        done = self.go("echo 1 > one", args=["--journal", "off"])
        self.assertIn("no snapshots of the workspace are taken: the run is not kept", done.err)
        self.assertEqual(self.refs(), [])

    def test_a_repository_without_commits(self):
        new = Repo(os.path.join(self.dir, "new"), self.env)
        new.write("x.txt", "x\n")
        self.go("echo y > y.txt", cwd=new.path)
        taken = self.snapshots()
        self.assertEqual([("head" in e["body"], e["body"]["files"]) for e in taken], [(False, 1), (False, 1)])
        self.assertEqual(new.git("rev-parse", taken[-1]["body"]["ref"] + "^{tree}"), self.staged(new))
        self.assertNotEqual(new.run("rev-parse", "-q", "--verify", "HEAD", check=False).returncode, 0)
        done = self.moonlet("fork", self.last(), "--worktree", cwd=new.path)
        self.assertEqual(done.code, 0, done)
        made = Repo(done.err.split()[-1], self.env, init=False)
        self.assertEqual((made.lines("status", "--short"), made.git("rev-parse", "HEAD")), ([], taken[-1]["body"]["commit"]))
        self.assertEqual(made.read("y.txt"), b"y\n")

    def test_a_workspace_that_is_a_folder_of_the_repository(self):
        inner = os.path.join(self.work, "dir")
        self.go("echo up > ../up.txt; echo in > in.txt; mkdir only", cwd=inner)
        last = self.snapshots()[-1]
        self.assertEqual(self.tree(last), self.staged())
        done = self.moonlet("fork", self.last(), "--at", str(last["body"]["at"]), "--worktree=" + os.path.join(self.dir, "wt"), cwd=inner)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.runs()[0]["workspace"], os.path.join(self.dir, "wt", "dir"))
        self.assertTrue(os.path.exists(os.path.join(self.dir, "wt", "up.txt")))

    def test_a_workspace_that_is_a_worktree(self):
        tree = os.path.join(self.dir, "linked")
        self.repo.git("worktree", "add", "-q", "--detach", tree)
        linked = Repo(tree, self.env, init=False)
        before = self.state(linked)
        self.go("echo l > l.txt", cwd=tree)
        self.assertEqual(self.state(linked), before)
        self.assertEqual(self.tree(self.snapshots()[-1]), self.staged(linked))
        self.assertEqual(len(self.refs()), 2)

    def test_hostile_repositories_are_refused(self):
        outside = os.path.join(self.dir, "outside")
        os.mkdir(outside)
        self.repo.git("config", "core.worktree", outside)
        done = self.go("echo 1 > one")
        self.assertIn("core.worktree", done.err)
        self.repo.git("--git-dir", os.path.join(self.work, ".git"), "config", "--unset", "core.worktree")
        shutil.move(os.path.join(self.work, ".git/refs"), outside)
        os.symlink(os.path.join(outside, "refs"), os.path.join(self.work, ".git/refs"))
        done = self.go("echo 2 > one")
        self.assertIn("is a symbolic link", done.err)
        self.assertEqual(sorted(os.listdir(outside)), ["refs"])

    def test_hooks_and_monitors_of_the_repository_are_not_run(self):
        ran = os.path.join(self.dir, "ran")
        for name in ("reference-transaction", "post-checkout", "post-index-change", "pre-commit", "post-commit"):
            self.file(f".git/hooks/{name}", f"#!/bin/sh\necho {name} >> {ran}\n", 0o755)
        self.file("../monitor", f"#!/bin/sh\necho monitor >> {ran}\n", 0o755)
        for name in ("fsmonitor", "sshCommand", "pager", "askPass"):
            self.repo.git("config", "core." + name, os.path.join(self.dir, "monitor"))
        self.repo.git("config", "filter.x.smudge", f"touch {ran}; cat")
        self.repo.git("config", "filter.x.clean", f"touch {ran}; cat")
        if os.path.exists(ran):
            os.unlink(ran)
        self.go("printf '* filter=x\\n' > .gitattributes; echo x > x.txt")
        self.assertEqual(self.moonlet("fork", self.last(), "--worktree").code, 0)
        self.assertFalse(os.path.exists(ran), os.path.exists(ran) and open(ran).read())

    def test_an_index_that_libgit2_cannot_read_is_done_without(self):
        self.repo.git("update-index", "--split-index")
        self.go("echo s > s.txt")
        self.assertEqual(sorted(self.repo.lines("ls-tree", "-r", "--name-only", self.snapshots()[-1]["body"]["ref"])),
                         [".gitignore", "a.txt", "dir/b.txt", "s.txt"])
        self.assertEqual(self.warnings(), [])

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_what_cannot_be_read_is_left_out(self):
        self.go("echo s > secret; chmod 0 secret; echo 1 > one")
        self.assertEqual(len([w for w in self.warnings() if w.startswith("secret is left out")]), 1)
        self.assertIn("one", self.repo.lines("ls-tree", "-r", "--name-only", self.snapshots()[-1]["body"]["ref"]))


class Going(Snapshots):
    def test_a_replay_shows_them_and_takes_none(self):
        self.go("echo 1 > one", "echo 2 > one")
        refs, run, taken = self.refs(), self.last(), self.snapshots()
        done = self.moonlet("replay", run, "--output", "stream-json")
        self.assertEqual(done.code, 0, done)
        self.assertEqual([e["body"] for e in done.events("snapshot.taken")], [e["body"] for e in taken])
        self.assertEqual(self.moonlet("replay", run, "--live-tools").code, 0)
        self.assertEqual(self.refs(), refs)

    def test_a_run_that_is_resumed_goes_on_with_them(self):
        self.go("echo 1 > one", "echo 2 > one", "echo 3 > one", code=3, args=["--limit", "steps=2", "--snapshots"], more="")
        run = self.last()
        self.assertEqual(len(self.snapshots(run)), 3)
        done = self.moonlet("resume", run, "--limit", "steps=9")
        self.assertEqual((done.code, done.out), (0, "the end\n"), done)
        taken = self.snapshots(run)
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":one") for e in taken[1:]], ["1", "2", "3"])
        ids = [e["body"]["commit"] for e in taken]
        self.assertEqual(self.repo.lines("rev-list", ids[-1]), ids[::-1] + [self.base])

    def test_a_process_that_is_killed_and_resumed(self):
        self.go("echo 1 > one", "echo 2 > one; kill -9 $PPID; sleep 60", "echo 3 > one", code=-signal.SIGKILL)
        run = self.last()
        done = self.moonlet("resume", run, "--unknown", "tell")
        self.assertEqual(done.code, 0, done)
        taken = self.snapshots(run)
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":one") for e in taken[1:]], ["1", "2", "3"])
        self.assertEqual(self.tree(taken[-1]), self.staged())

    def test_snapshots_can_begin_when_a_run_is_resumed(self):
        self.go("echo 1 > one", "echo 2 > one", "echo 3 > one", code=3, args=["--limit", "steps=2"], more="")
        run = self.last()
        at = len(self.events(run))
        done = self.moonlet("resume", run, "--limit", "steps=9", "--snapshots")
        self.assertEqual(done.code, 0, done)
        taken = self.snapshots(run)
        self.assertEqual(taken[0]["body"]["at"], at + 1)  # run.claimed
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":one") for e in taken], ["2", "3"])

    def test_ctrl_c_ends_a_run_between_snapshots(self):
        script = self.script("echo 1 > one", "touch started; sleep 60")
        process = self.start("run", script, "go")
        started = os.path.join(self.work, "started")
        while not os.path.exists(started) and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        done = self.finish(process)
        self.assertEqual(done.code, 130, done)
        self.assertEqual(len(self.snapshots()), 2)


class Forking(Snapshots):
    def setUp(self):
        super().setUp()
        self.repo.write("a.txt", "not committed\n")
        self.go("echo 1 > one; echo i > i.log", "echo 2 > one; chmod +x one; rm dir/b.txt", "echo 3 > one; ln -s one link")
        self.run_id = self.last()
        self.taken = self.snapshots()
        self.at = [e["body"]["at"] for e in self.taken]

    def fork(self, *args, code=0):
        done = self.moonlet("fork", self.run_id, *args)
        self.assertEqual(done.code, code, done)
        return done

    def made(self, done):
        return Repo(done.err.splitlines()[0].split(": ")[-1], self.env, init=False)

    def test_a_worktree_has_the_files_of_the_event(self):
        before = self.state()
        done = self.fork("--at", str(self.at[1]), "--worktree", "--limit", "steps=0", code=3)
        made = self.made(done)
        self.assertEqual(made.path, f"{self.work}-{self.run_id}-{self.at[1]}")
        self.assertEqual(made.lines("status", "--porcelain"), [" M a.txt", "?? one"])
        self.assertEqual((made.read("one"), made.read("a.txt"), made.git("rev-parse", "HEAD")), (b"1\n", b"not committed\n", self.base))
        self.assertNotEqual(made.run("symbolic-ref", "-q", "HEAD", check=False).returncode, 0)
        self.assertEqual(self.staged(made), self.tree(self.taken[1]))
        self.assertFalse(os.path.exists(os.path.join(made.path, "i.log")))
        self.assertEqual(self.state(), before)
        self.repo.git("fsck", "--strict")
        self.assertEqual(len(self.repo.lines("worktree", "list")), 2)
        self.repo.git("worktree", "remove", "--force", made.path)
        self.assertEqual(len(self.repo.lines("worktree", "list")), 1)

    def test_the_fork_goes_on_there(self):
        made = self.made(self.fork("--at", str(self.at[1]), "--worktree"))
        self.assertEqual((made.read("one"), self.repo.read("one")), (b"3\n", b"3\n"))
        self.assertTrue(os.access(os.path.join(made.path, "one"), os.X_OK))
        fork = self.runs()[0]
        self.assertEqual(fork["workspace"], made.path)
        own = [e for e in self.snapshots(fork["run"]) if fork["run"] in e["body"]["ref"]]
        self.assertEqual([e["body"]["at"] for e in own][0], self.at[1])
        self.assertEqual([self.repo.git("show", e["body"]["ref"] + ":one") for e in own], ["1", "2", "3"])
        # A fork of the fork, at an event that both share, and at one of its own.
        done = self.moonlet("fork", fork["run"], "--at", str(own[1]["body"]["at"]), "--worktree=" + os.path.join(self.dir, "again"))
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.runs()[0]["workspace"], os.path.join(self.dir, "again"))

    def test_events_in_between_have_the_snapshot_before(self):
        for at, content in ((1, None), (self.at[1] - 1, None), (self.at[1] + 1, b"1\n"), (self.at[2] - 1, b"1\n"), (self.at[2], b"2\n"), (self.at[3] + 1, b"3\n")):
            made = self.made(self.fork("--at", str(at), "--worktree", "--unknown", "tell", "--limit", "steps=0", code=3))
            path = os.path.join(made.path, "one")
            self.assertEqual(pathlib.Path(path).read_bytes() if os.path.exists(path) else None, content, at)
        self.assertEqual(len({line.split()[0] for line in self.repo.lines("worktree", "list")}), 7)

    def test_a_directory_can_be_named(self):
        place = os.path.join(self.dir, "place")
        os.mkdir(place)
        self.fork("--at", str(self.at[2]), f"--worktree={place}", "--limit", "steps=0", code=3)
        self.assertEqual(Repo(place, self.env, init=False).read("one"), b"2\n")
        done = self.fork(f"--worktree={place}", code=1)
        self.assertIn("it is there already", done.err)
        done = self.fork("--worktree", place, code=2)
        self.assertIn("--worktree=DIR", done.err)
        done = self.fork(f"--worktree={self.dir}/no/such", code=1)
        self.assertIn("cannot make", done.err)
        self.assertEqual(len(self.runs()), 2)  # what failed has made no run

    def test_without_the_option_the_difference_is_said(self):
        done = self.fork("--at", str(self.at[1]), "--limit", "steps=0", code=3)
        self.assertIn(f"the workspace is not as it was after event {self.at[1]}: 3 files differ; --worktree makes one that is", done.err)
        self.assertNotIn("--worktree", self.fork("--at", str(self.at[3]), "--limit", "steps=0", code=3).err)
        self.assertNotIn("--worktree", self.fork("--at", str(self.at[1]), "-q", "--limit", "steps=0", code=3).err)
        self.assertNotIn("--worktree", self.fork("--at", str(self.at[1]), "-C", self.dir, "--journal", os.path.join(self.home, "state/moonlet/journal.db"),
                                                 "--limit", "steps=0", code=3).err)

    def test_a_run_without_snapshots_has_no_past(self):
        self.go("echo 9 > nine", more="")
        done = self.moonlet("fork", self.last(), "--worktree")
        self.assertEqual(done.code, 2, done)
        self.assertIn("has no snapshot of its workspace", done.err)

    def test_a_snapshot_that_is_gone_is_an_error(self):
        for ref in self.refs():
            self.repo.git("update-ref", "-d", ref)
        self.repo.git("reflog", "expire", "--expire=now", "--all")
        self.repo.git("prune", "--expire=now")
        done = self.fork("--worktree", code=2)
        self.assertIn("any more", done.err)
        self.assertEqual(len(self.repo.lines("worktree", "list")), 1)

    def test_gc_removes_them_with_their_runs(self):
        place = os.path.join(self.dir, "place")
        self.fork("--at", str(self.at[1]), f"--worktree={place}")
        fork = self.last()
        self.repo.git("update-ref", "refs/moonlet/other/1", self.base)
        self.repo.git("pack-refs", "--all")
        self.assertEqual(len({r.split("/")[2] for r in self.refs()}), 3)
        shutil.rmtree(place)  # the fork's own place is gone: it is found by way of the run it came from
        done = self.moonlet("gc", "--keep", "0s")
        self.assertIn("2 runs removed", done.out, done)
        self.assertEqual(self.refs(), ["refs/moonlet/other/1"])
        self.assertTrue(fork)

    def test_snapshots_that_a_fork_shares_stay_with_it(self):
        self.fork("--at", str(self.at[1]), "--limit", "steps=0", code=3)
        self.go("echo later > later", more="")
        self.moonlet("gc", "--keep", "30d")
        self.assertEqual(len(self.refs()), 4)


if __name__ == "__main__":
    harness.main()
