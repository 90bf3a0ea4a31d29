# SPDX-License-Identifier: MIT
"""Trees that are not as one would like them: repositories without commits, bare, with a detached HEAD, broken, with 50,000 files, with
names that are Latin-1 or that a terminal would obey; and folders that are no repository. Every git tool, and both shipped agents."""
import json
import os
import unittest

import fixtures
import harness
import terminal

# Each git tool with arguments that are sound where there is a README.md.
CALLS = {
    "git.status": {}, "git.log": {}, "git.diff": {}, "git.show": {}, "git.blame": {"path": "README.md"}, "git.branches": {},
    "git.branch": {"name": "topic"}, "git.commit": {"message": "m", "all": True},
}
REPEATABLE = tuple(name for name in CALLS if name not in ("git.branch", "git.commit"))


class Trees(harness.Case):
    def call(self, tool, where, code=0, *more, env=None, **args):
        done = self.moonlet("call", tool, json.dumps(args or CALLS.get(tool, {})), "-C", where, "--yes", *more, env=env)
        self.assertEqual(done.code, code, done)
        if code and "--output" not in more:
            self.assertEqual(done.out, "", done)
        self.assertEqual(terminal.raw(done.raw_err), [], done)
        return done

    def value(self, tool, where, **args):
        return json.loads(self.call(tool, where, **args).out)

    def fails(self, path, tools, env=None):
        """tools: name → part of the error. Exit 1 and the same error in JSON."""
        for tool, said in tools.items():
            with self.subTest(tool):
                self.assertIn(said, self.call(tool, path, 1, env=env).err)
                out = self.call(tool, path, 1, "--output", "json", env=env).json()
                self.assertEqual((out["exit_code"], out["stop_reason"]), (1, "failed"))
                self.assertIn(said, out["error"])

    def agent_run(self, name, path, code=0, env=None):
        done = self.moonlet("run", name, "--cwd", path, "--yes", "--output", "json", env=env)
        self.assertEqual(done.code, code, done)
        return done.json()["text"]

    def harbour(self):
        return fixtures.harbour(os.path.join(self.dir, "harbour"), self.env)

    def everything(self, path):
        """All names and contents below a directory, to see that nothing was changed."""
        found = {}
        for root, dirs, files in os.walk(os.fsencode(path)):
            for name in files:
                with open(os.path.join(root, name), "rb") as source:
                    found[os.path.join(root, name)] = source.read()
            found.update((os.path.join(root, name), None) for name in dirs)
        return found


class NoRepository(Trees):
    def test_every_git_tool_says_so(self):
        self.file("README.md", "# Folder\n")
        self.fails(self.work, {tool: "not a git repository" for tool in CALLS})
        self.assertIn(self.work, self.call("git.log", self.work, 1).err)
        self.assertEqual(os.listdir(self.work), ["README.md"])

    def test_git_log_without_any_option(self):
        done = self.moonlet("call", "git.log")
        self.assertEqual((done.code, done.out), (1, ""), done)
        self.assertIn("not a git repository", done.err)

    def test_agents(self):
        self.file("README.md", "# Folder\n")
        for name in ("brief", "changelog"):
            with self.subTest(name):
                self.assertIn("no git repository", self.agent_run(name, self.work))
        self.assertEqual(os.listdir(self.work), ["README.md"])

    def test_an_empty_dot_git_is_no_repository(self):
        os.mkdir(os.path.join(self.work, ".git"))
        self.fails(self.work, {"git.log": "not a git repository", "git.status": "not a git repository"})
        self.assertIn("no git repository", self.agent_run("brief", self.work))

    def test_a_directory_that_is_missing(self):
        gone = os.path.join(self.work, "gone")
        for args in (("call", "git.log", "{}"), ("run", "brief")):
            done = self.moonlet(*args, "-C", gone)
            self.assertNotEqual(done.code, 0, done)
            self.assertEqual(done.out, "")
            self.assertIn(gone, done.err)


class Unborn(Trees):
    """No commits yet."""

    def look(self, path):
        status = self.value("git.status", path)
        self.assertEqual((status["unborn"], status["head"], status["detached"]), (True, None, False))
        self.assertEqual(self.value("git.log", path)["commits"], [])
        self.assertEqual(self.value("git.branches", path)["branches"], [])
        self.fails(path, {"git.show": "no commits yet", "git.blame": "no commits yet", "git.branch": "no commits yet"})
        self.assertIn("no commits yet", self.agent_run("brief", path))
        self.assertIn("no commits yet", self.agent_run("changelog", path))

    def test_empty(self):
        repo = fixtures.Repo(os.path.join(self.dir, "empty"), self.env)
        self.look(repo.path)
        self.assertEqual(self.value("git.status", repo.path)["branch"], "main")
        repo.git("config", "user.name", "Ada")
        repo.git("config", "user.email", "ada@example.com")
        self.assertIn("nothing to commit", self.call("git.commit", repo.path, 1).err)

    def test_with_files(self):
        repo = fixtures.Repo(os.path.join(self.dir, "begun"), self.env)
        repo.write("README.md", "# Begun\n")
        repo.write("staged.c", "int a;\n")
        repo.git("add", "staged.c")
        self.look(repo.path)
        self.assertEqual({e["path"]: e.get("index") or e.get("worktree") for e in self.value("git.status", repo.path)["entries"]},
                         {"README.md": "untracked", "staged.c": "added"})
        self.assertIn("+int a;", self.call("git.diff", repo.path, staged=True).out)
        repo.git("config", "user.name", "Ada")
        repo.git("config", "user.email", "ada@example.com")
        made = self.value("git.commit", repo.path, message="First", paths=["README.md", "staged.c"])
        self.assertEqual((made["id"], repo.lines("ls-files")), (repo.git("rev-parse", "main"), ["README.md", "staged.c"]))

    def test_bare(self):
        repo = fixtures.Repo(os.path.join(self.dir, "bare.git"), self.env, bare=True)
        before = self.everything(repo.path)
        self.look(repo.path)
        self.assertEqual(self.value("git.status", repo.path)["bare"], True)
        self.fails(repo.path, {"git.diff": "bare", "git.commit": "bare"})
        self.assertEqual(self.everything(repo.path), before)


class Bare(Trees):
    def setUp(self):
        super().setUp()
        self.source = self.harbour()
        self.path = os.path.join(self.dir, "bare.git")
        self.source.git("clone", "-q", "--bare", ".", self.path)
        self.repo = fixtures.Repo(self.path, self.env, init=False)

    def test_history_is_as_in_the_source(self):
        status = self.value("git.status", self.path)
        self.assertEqual((status["bare"], status["branch"], status["entries"], status["head"]), (True, "main", [], self.source.git("rev-parse", "HEAD")))
        self.assertEqual([c["id"] for c in self.value("git.log", self.path, limit=1000)["commits"]][0], status["head"])
        self.assertEqual({b["name"] for b in self.value("git.branches", self.path)["branches"]}, {"main", "side"})
        self.assertEqual(self.value("git.blame", self.path, path="src/core.c")["lines"], len(self.source.read("src/core.c").splitlines()))
        self.assertIn(status["head"], self.call("git.show", self.path).out)
        self.assertIn("web/index.html", self.call("git.diff", self.path, **{"from": "HEAD~1", "to": "HEAD"}).out)

    def test_what_needs_a_work_tree_is_refused(self):
        before = self.everything(self.path)
        self.fails(self.path, {"git.diff": "bare", "git.commit": "bare"})
        self.assertIn("bare", self.call("git.branch", self.path, 1, name="side", action="switch").err)
        self.assertEqual(self.everything(self.path), before)
        self.assertIn("created topic", self.call("git.branch", self.path).out)
        self.assertEqual(self.repo.git("rev-parse", "topic"), self.source.git("rev-parse", "HEAD"))

    def test_brief(self):
        self.assertIn("bare", self.agent_run("brief", self.path))

    def test_changelog_writes_nothing_among_gits_files(self):
        text = self.agent_run("changelog", self.path)
        self.assertFalse(os.path.exists(os.path.join(self.path, "CHANGELOG.md")))
        self.assertIn("bare", text)


class Detached(Trees):
    def test_each_tool(self):
        repo = self.harbour()
        repo.git("checkout", "-q", "--detach", "HEAD~3")
        head = repo.git("rev-parse", "HEAD")
        status = self.value("git.status", repo.path)
        self.assertEqual((status["detached"], status["branch"], status["head"], status["unborn"]), (True, None, head, False))
        self.assertEqual([c["id"] for c in self.value("git.log", repo.path, limit=1)["commits"]], [head])
        made = self.value("git.branches", repo.path)
        self.assertEqual((made["current"], [b["current"] for b in made["branches"]]), (None, [False, False]))
        self.assertTrue(self.call("git.show", repo.path).out.startswith(f"commit {head}\n"))
        self.assertEqual(self.value("git.blame", repo.path)["ref"], head)
        repo.add_line("README.md", "more")
        self.assertIn("+more", self.call("git.diff", repo.path).out)
        repo.git("config", "user.name", "Ada")
        repo.git("config", "user.email", "ada@example.com")
        made = self.value("git.commit", repo.path, message="On no branch", paths=["README.md"])
        self.assertEqual((made["id"], repo.git("rev-parse", "HEAD^")), (repo.git("rev-parse", "HEAD"), head))
        self.assertNotEqual(repo.git("rev-parse", "main"), made["id"])
        self.call("git.branch", repo.path, name="kept")
        self.assertEqual(repo.git("rev-parse", "kept"), made["id"])
        self.assertIn("detached", self.agent_run("brief", repo.path))
        self.assertIn(made["id"][:10], self.agent_run("changelog", repo.path))


class Broken(Trees):
    """Something in .git is not what it should be: each tool says what, or does without; nothing is changed and nothing crashes."""

    def broken(self):
        """label → repository, with a part of what the tools say of it."""
        made = {}

        def new(label, said, *write):
            repo = fixtures.Repo(os.path.join(self.dir, label.replace(" ", "-")), self.env)
            repo.write("README.md", "# Sound\n\nTODO: stay so\n")
            repo.commit("begin")
            for path, content in write:
                full = os.path.join(repo.path, ".git", path)
                if os.path.exists(full):
                    os.chmod(full, 0o600)
                repo.write(".git/" + path, content)
            made[label] = (repo, said)
            return repo
        new("HEAD of noise", "HEAD", ("HEAD", b"\xff\0noise"))
        new("HEAD of no object", "HEAD", ("HEAD", b"0123456789" * 4 + b"\n"))
        new("branch of noise", "HEAD", ("refs/heads/main", b"noise\n"))
        new("branch to itself", "HEAD", ("refs/heads/main", b"ref: refs/heads/side\n"), ("refs/heads/side", b"ref: refs/heads/main\n"))
        new("config of noise", "config", ("config", b"[core\n\0"))
        new("unknown extension", "extension", ("config", b"[core]\n\trepositoryformatversion = 1\n[extensions]\n\tx = y\n"))
        repo = new("objects gone", "HEAD")
        for name in repo.lines("rev-list", "--objects", "HEAD"):
            os.remove(os.path.join(repo.path, ".git", "objects", name[:2], name[2:40]))
        return made

    def quiet(self):
        """libgit2 itself leaks on some of its error paths; that is not ours to fail for."""
        return self.environment(ASAN_OPTIONS=self.env.get("ASAN_OPTIONS", "") + ":detect_leaks=0")

    def test_tools(self):
        for label, (repo, said) in self.broken().items():
            before = self.everything(repo.path)
            with self.subTest(label):
                for tool in ("git.status", "git.log", "git.diff"):
                    self.fails(repo.path, {tool: said}, env=self.quiet())
                for tool in ("git.show", "git.blame"):
                    self.call(tool, repo.path, 1, env=self.quiet())
                self.moonlet("call", "git.branches", "-C", repo.path, env=self.quiet())
                self.assertEqual(self.everything(repo.path), before)

    def test_links_to_nowhere(self):
        for content in ("noise\n", "gitdir: /nonexistent/x\n", "gitdir: .git\n", "gitdir: \x1b[31m\n", ""):
            with self.subTest(content):
                self.file(".git", content)
                for tool in REPEATABLE:
                    self.call(tool, self.work, 1, env=self.quiet())

    def test_brief_ends(self):
        for label, (repo, _) in self.broken().items():
            with self.subTest(label):
                self.assertIn("README.md:1", self.agent_run("brief", repo.path, env=self.quiet()))

    def test_brief_says_what_is_wrong(self):
        for label, (repo, said) in self.broken().items():
            with self.subTest(label):
                text = self.agent_run("brief", repo.path, env=self.quiet())
                self.assertNotIn("no git repository", text)
                self.assertIn(said, text)


class Names(Trees):
    """Names that a terminal would obey, that break lines, or that are no UTF-8."""
    CSI = "csi-\u009b31mred\x7f.txt".encode()
    LATIN = b"caf\xe9/men\xfc.c"

    def setUp(self):
        super().setUp()
        self.repo = fixtures.strange(os.path.join(self.dir, "strange"), self.env)
        for name in (self.CSI, self.LATIN, b"caf\xe8/men\xfc.c"):
            self.repo.write(name, "TODO in a strange place\n")
        self.repo.commit("more \x9b31m names \u202e".replace("\x9b", "\u009b"), ("Mallory \u009b2J\x1b[2J", "m@example.org"))
        self.named = [name for name in (*fixtures.STRANGE, self.CSI) if b"\x1b" in name or b"\x07" in name or name == self.CSI or b"\n" in name]
        for name in (*self.named, self.LATIN):
            self.repo.write(name, self.repo.read(name) + b"dirty \x1b[31m \x9b31m \xc2\x9b31m \xe2\x80\xae\n")
        self.repo.write(b"fresh \x1b]0;x\x07\xe9.txt", "new\n")

    def rows(self):
        yield from ((tool, args) for tool, args in (
            ("git.status", {}), ("git.log", {"stat": True}), ("git.diff", {}), ("git.diff", {"stat": True}), ("git.show", {}), ("git.branches", {}),
            ("file.list", {}), ("file.list", {"summary": True}), ("search", {"pattern": "TODO|dirty"}), ("search", {"pattern": "TODO", "files_only": True})))
        for name in map(bytes.decode, self.named):
            yield from (("file.read", {"path": name}), ("git.blame", {"path": name}), ("git.show", {"path": name}), ("git.log", {"path": name}),
                        ("file.read", {"path": "no " + name}), ("git.show", {"ref": name}), ("git.branch", {"name": name}))

    def test_nothing_is_written_raw_to_a_terminal(self):
        for tool, args in self.rows():
            for more in ((), ("--verbose",)) if tool == "file.read" else ((),):
                with self.subTest(f"{tool} {args} {more}"):
                    code, seen = terminal.run(self, "call", tool, json.dumps(args), "-C", self.repo.path, "--yes", *more)
                    self.assertIn(code, (0, 1), seen)
                    self.assertTrue(seen)
                    self.assertEqual(terminal.raw(seen), [], seen)

    def test_agents_on_a_terminal(self):
        for name in ("brief", "changelog"):
            for more in ((), ("--verbose",)):
                with self.subTest(f"{name} {more}"):
                    code, seen = terminal.run(self, "run", name, "--yes", "-C", self.repo.path, *more)
                    self.assertEqual(code, 0, seen)
                    self.assertEqual(terminal.raw(seen), [], seen)

    def test_names_given_on_the_command_line(self):
        odd = os.path.join(self.dir, "wd-\x1b[31m\u202e\u009b")
        os.mkdir(odd)
        for args in (("run", "brief", "-C", odd), ("call", "git.log", "{}", "-C", odd), ("call", "file.read", '{"path":"x"}', "-C", odd + "/none"),
                     ("run", odd + "/none.lua"), ("run", "\u009b31m"), ("tools", "\x1b[31m"), ("call", "\x1b[31m", "{}"), ("\x1b[31m",), ("run", "brief", "-m", "\x1b]0;x\x07"),
                     ("run", "brief", "--policy", "\x1b[31m=deny"), ("run", "brief", "--limit", "\x1b[31m=1"), ("run", "brief", "-o", odd + "/none/x"),
                     ("run", "brief", "--config", odd + "/none.lua"), ("run", "brief", "--plugin", odd + "/none.so"), ("new", "agent", "\x1b[31m"),
                     ("doctor", "-m", "\x1b[31m")):
            with self.subTest(args):
                _, seen = terminal.run(self, *args)
                self.assertTrue(seen)
                self.assertEqual(terminal.raw(seen), [], seen)

    def test_directory_of_something_new(self):
        odd = os.path.join(self.dir, "wd-\x1b[31m\u202e\u009b")
        for kind in ("agent", "tool"):
            with self.subTest(kind):
                _, seen = terminal.run(self, "new", kind, "x", odd)
                self.assertEqual(terminal.raw(seen), [], seen)

    def test_json_on_a_terminal(self):
        for form in ("json", "stream-json"):
            with self.subTest(form):
                _, seen = terminal.run(self, "call", "file.list", "{}", "-C", self.repo.path, "--output", form)
                self.assertEqual(terminal.raw(seen), [], seen)

    def test_bytes_that_are_no_utf8_can_be_told(self):
        """Where a name cannot stand in JSON its bytes do, beside it."""
        want = os.fsencode(self.repo.git("ls-files", "-z")).split(b"\0")
        self.assertIn(self.LATIN, want)

        def names(entries, key):
            return {bytes.fromhex(e[key]) if key in e else e["path"].encode() for e in entries}
        dirty = {*self.named, self.LATIN}
        self.assertEqual(names(self.value("git.status", self.repo.path)["entries"], "path_hex"), dirty | {b"fresh \x1b]0;x\x07\xe9.txt"})
        self.assertEqual(names(self.value("git.diff", self.repo.path, stat=True)["files"], "path_hex"), dirty)
        self.assertEqual(names(self.value("git.log", self.repo.path, stat=True, limit=1)["commits"][0]["files"], "path_hex"), {self.CSI, self.LATIN, b"caf\xe8/men\xfc.c"})
        listed = names(self.value("file.list", self.repo.path)["files"], "raw_hex")
        self.assertEqual(listed, {name for name in want if name} | {b"fresh \x1b]0;x\x07\xe9.txt"})
        self.assertIn(r'"a/caf\351/men\374.c"', self.call("git.diff", self.repo.path).out)
        self.assertIn(r'"caf\351/men\374.c"', self.call("search", self.repo.path, pattern="TODO").out)

    def test_brief_of_directories_that_are_no_utf8(self):
        layout = self.agent_run("brief", self.repo.path).split("## How it is laid out")[1].split("\n## ")[0]
        self.assertIn(r'"caf\351/"', layout)
        self.assertIn(r'"caf\350/"', layout)
        self.assertNotIn("no commit in the window", layout)

    def test_kinds_of_files_that_are_no_utf8(self):
        kinds = {kind["ext"]: kind["files"] for kind in self.value("file.list", self.repo.path, summary=True)["kinds"]}
        self.assertEqual(kinds["c"], sum(name.endswith(b".c") for name in os.fsencode(self.repo.git("ls-files", "-z")).split(b"\0")))


class Large(Trees):
    def test_fifty_thousand_files(self):
        repo = fixtures.huge(os.path.join(self.dir, "huge"), self.env)
        listed = self.value("file.list", repo.path, limit=10)
        self.assertEqual((len(listed["files"]), listed["total"], listed["more"]), (10, 50_003, True))
        summary = self.value("file.list", repo.path, summary=True)
        self.assertEqual((summary["total"], sum(kind["files"] for kind in summary["kinds"])), (50_003, 50_003))
        self.assertEqual(self.value("git.status", repo.path)["total"], 0)
        self.assertTrue(self.call("search", repo.path, pattern="the same TODO", limit=5).out.startswith("5+ matches in "))
        self.assertIn("1 match in 1 file", self.call("search", repo.path, pattern="TODO", glob="file49999.c").out)
        self.assertEqual(len(self.value("git.log", repo.path, path="area01/hot.c")["commits"]), len(repo.lines("log", "--format=%H", "--", "area01/hot.c")))
        first = repo.lines("rev-list", "--max-parents=0", "HEAD")[0]
        self.assertEqual([c["id"] for c in self.value("git.log", repo.path, ref=first)["commits"]], [first])
        cut = self.call("git.log", repo.path, ref=first, stat=True).out  # more than a result holds
        self.assertRegex(cut, r"\A\[result of \d+ bytes cut; the whole is in @spill/")
        self.assertLess(len(cut), 64 << 10)
        for number in range(0, 50_000, 250):
            os.remove(os.path.join(repo.path, f"area{number % 25:02d}/d{number // 250:03d}/file{number:05d}.c"))
        repo.add_line("area01/hot.c", "changed")
        status = self.value("git.status", repo.path, limit=7)
        self.assertEqual((len(status["entries"]), status["total"], status["more"]), (7, 201, True))
        diff = self.value("git.diff", repo.path, stat=True)
        self.assertEqual((diff["total"], diff["deleted"]), (201, 200))
        self.assertLess(len(self.call("git.diff", repo.path).raw_out), 4 << 20)


if __name__ == "__main__":
    harness.main()
