# SPDX-License-Identifier: MIT
"""Full disks and readers that have left: what was there before stays, nothing is half written without a word, and the exit code is 1."""
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import unittest

import fixtures
import harness
import terminal
from mock_model import MockModel, calls, text

OLD = "what was there before\n"
MUCH = "x" * 200_000
ANSWER = f'local moon = require "moonlet"\nreturn moon.agent {{ name = "x", model = moon.model.script(function() return ("x"):rep({len(MUCH)}) end) }}\n'


def small_files():
    """Runs in the child: no file may grow over 16 KiB. The signal is left as it is, as a shell's `ulimit -f` leaves it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))


class Files(harness.Case):
    """Tools that write, where files may not grow."""

    def names(self):
        return sorted(os.listdir(self.work))

    def read(self, name):
        with open(os.path.join(self.work, name), encoding="utf-8") as source:
            return source.read()

    CALLS = (
        ("a new file", "file.write", {"path": "new.txt", "content": MUCH}),
        ("a new file in a new directory", "file.write", {"path": "sub/new.txt", "content": MUCH}),
        ("a file that is there", "file.write", {"path": "old.txt", "content": MUCH}),
        ("a part of it", "file.edit", {"path": "old.txt", "old": "what", "new": MUCH}),
    )

    def test_the_old_file_stays(self):
        self.file("old.txt", OLD)
        for label, tool, args in self.CALLS:
            with self.subTest(label):
                done = self.moonlet("call", tool, "-", "--yes", input=json.dumps(args), preexec_fn=small_files)
                self.assertEqual((done.code, done.out), (1, ""), done)
                self.assertRegex(done.err, rf"{args['path']}.*File too large")
                self.assertEqual(self.read("old.txt"), OLD)
                self.assertEqual([name for name in self.names() if name != "sub"], ["old.txt"])
                self.assertEqual(os.listdir(os.path.join(self.work, "sub")) if "sub" in self.names() else [], [])

    def test_the_model_is_told_and_the_run_goes_on(self):
        self.file("old.txt", OLD)
        with MockModel([calls(("file.write", {"path": "old.txt", "content": MUCH})), calls(("file.write", {"path": "new.txt", "content": "small\n"})), text("done")]) as model:
            done, out = self.run_agent(model, self.agent(tools='"file"'), "go", "--yes", "--journal", "off", preexec_fn=small_files)
        self.assertEqual((done.code, out["text"]), (0, "done"), done)
        self.assertIn("File too large", model.requests[1].messages[-1]["content"])
        self.assertEqual((self.read("old.txt"), self.read("new.txt")), (OLD, "small\n"))

    def test_a_read_only_directory(self):
        if not os.getuid():
            self.skipTest("root may write everywhere")
        self.file("locked/old.txt", OLD)
        os.chmod(os.path.join(self.work, "locked"), 0o500)
        for name in ("old.txt", "new.txt"):
            done = self.moonlet("call", "file.write", json.dumps({"path": f"locked/{name}", "content": "x"}), "--yes")
            self.assertEqual((done.code, done.out), (1, ""), done)
        self.assertEqual(self.read("locked/old.txt"), OLD)

    def test_outputs_that_may_not_grow(self):
        self.file("x.lua", ANSWER)
        for label, args, more in (("the answer", (), True), ("JSON", ("--json",), True), ("events", ("--output", "stream-json"), True), ("-o", ("-o", "out.md"), False)):
            with self.subTest(label), open(os.path.join(self.work, "out.txt"), "wb") as out:
                done = self.finish(self.start("run", "./x.lua", "go", "--journal", "off", *args, preexec_fn=small_files,
                                               stdout=out if more else subprocess.PIPE))
                self.assertEqual(done.code, 1, done)
                self.assertIn("File too large", done.err)

    def test_result_that_cannot_be_kept(self):
        with MockModel([calls(("shell", {"command": "yes 0123456789 | head -c 300000"})), text("done")]) as model:
            done, out = self.run_agent(model, self.agent(tools='"shell"'), "go", "--yes", "--journal", "off", preexec_fn=small_files)
        self.assertEqual((done.code, out["text"]), (0, "done"), done)
        self.assertIn("File too large", model.requests[1].messages[-1]["content"])


class OutputFile(harness.Case):
    """-o FILE is emptied only when there is something to write."""
    FAILS = 'local moon = require "moonlet"\nreturn moon.agent { name = "x", model = moon.model.script(function() error("boom") end) }\n'

    def kept(self, *args):
        self.file("out.md", OLD)
        done = self.moonlet("run", *args, "-o", "out.md")
        with open(os.path.join(self.work, "out.md"), encoding="utf-8") as out:
            return done, out.read()

    def test_run_that_does_not_start(self):
        done, left = self.kept("./none.lua")
        self.assertEqual((done.code, left), (2, OLD), done)

    def test_run_without_an_answer(self):
        self.file("fails.lua", self.FAILS)
        for args in (("./fails.lua",), ("./fails.lua", "--limit", "steps=0")):
            with self.subTest(args):
                done, left = self.kept(*args)
                self.assertEqual((done.code, left), (3 if len(args) > 1 else 1, OLD), done)

    def test_devices(self):
        self.file("x.lua", ANSWER)
        self.assertEqual(self.moonlet("run", "./x.lua", "-o", "/dev/null").code, 0)
        done = self.moonlet("run", "./x.lua", "-o", "/dev/full")
        self.assertEqual((done.code, done.out), (1, MUCH + "\n"))
        self.assertIn("No space left", done.err)
        for path in (self.work, os.path.join(self.work, "none", "out.md"), os.path.join(self.file("file", ""), "out.md")):
            done = self.moonlet("run", "./x.lua", "-o", path)
            self.assertEqual((done.code, done.out), (2, ""), done)


class FullDisk(harness.Case):
    """A file system of 512 KiB in a mount namespace of its own: there with the first process, gone with the last."""

    def inside(self, before, *args, after="", env=None):
        """Runs moonlet in such a file system: shell commands before it, moonlet's arguments, commands after it that print what there is."""
        self.script = self.file("inside.sh", f"set -e\nmount -t tmpfs -o size=512k moonlet-test {self.mnt}\ncd {self.mnt}\n{before}\n"
                                f'set +e\n"$@"\necho "exit $?"\n{after}\n')
        done = subprocess.run([*self.unshare, "sh", self.script, harness.binary(), *args], env=env or self.environment(TMPDIR=self.mnt), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.PATIENCE, check=False)
        self.assertEqual(terminal.raw(done.stderr), [], done)
        return harness.Done(args, done.returncode, done.stdout, done.stderr)

    def setUp(self):
        super().setUp()
        self.mnt = os.path.join(self.dir, "mnt")
        os.mkdir(self.mnt)
        self.unshare = ["unshare", "--mount"] if not os.getuid() else ["unshare", "--user", "--map-root-user", "--mount"]
        probe = subprocess.run([*self.unshare, "mount", "-t", "tmpfs", "moonlet-test", self.mnt], capture_output=True, check=False) if shutil.which("unshare") else None
        if not probe or probe.returncode:
            self.skipTest("no mount namespace to be had here")
        self.fill = "cat /dev/zero > filler 2> /dev/null || true"

    def write(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content)
        return path

    def test_tools_keep_the_old_file(self):
        much = "x" * 40_000
        for tool, args in (("file.write", {"path": "old.txt", "content": much}), ("file.edit", {"path": "old.txt", "old": "what", "new": much}),
                           ("file.write", {"path": "new.txt", "content": much})):
            with self.subTest(f"{tool} {args['path']}"):
                done = self.inside(f"printf '{OLD}' > old.txt; {self.fill}", "call", tool, json.dumps(args), "--yes", after="cat old.txt; ls")
                self.assertEqual(done.out, f"exit 1\n{OLD}filler\nold.txt\n", done)
                self.assertIn(f"{args['path']}: No space left", done.err)

    def test_results(self):
        script = self.write("x.lua", ANSWER)
        for form in ("text", "json", "stream-json"):
            with self.subTest(form):
                done = self.inside(f"{self.fill}\nexec 3>&1 > out", "run", script, "go", "--output", form, after="exec >&3 3>&-\nls")
                self.assertEqual(done.out, "filler\nout\n", done)
                self.assertIn("No space left", done.err)
        done = self.inside(self.fill, "run", script, "go", "-o", "out.md", "--json", after="ls")
        self.assertIn("exit 1", done.out)
        self.assertRegex(done.err, "out.md.*No space left")
        self.assertIn(MUCH, done.out, "the answer is not lost: it is on stdout")

    def test_what_is_new_is_not_half_there(self):
        for kind in ("agent", "tool"):
            with self.subTest(kind):
                done = self.inside(self.fill, "new", kind, "thing", after="find . -type f | sort")
                self.assertEqual(done.out, "exit 1\n./filler\n", done)
                self.assertIn("No space left", done.err)

    def test_long_results_cannot_be_kept(self):
        script = self.write("x.lua", """
            local moon = require "moonlet"
            return moon.agent { name = "x", tools = { "shell" }, model = moon.model.script(function(request)
              local last = request.messages[#request.messages]
              if last.role == "tool" then return "told: " .. last.content:match("^[^\\n]*") end
              return { tool_calls = { { name = "shell", arguments = { command = "yes 0123456789 | head -c 300000" } } } }
            end) }""")
        done = self.inside(self.fill, "run", script, "go", "--yes", after="ls")
        self.assertRegex(done.out, r"\Atold: .*the rest is lost.*No space left.*\nexit 0\nfiller\n\Z", done)

    READS = """
        local moon = require "moonlet"
        return moon.agent { name = "x", tools = { "file.list" }, model = moon.model.script(function(request)
          local n = #request.messages
          if n > 80 then return "done" end
          return { text = ("x"):rep(20000), tool_calls = { { name = "file.list", arguments = { limit = n } } } }
        end) }"""

    def test_no_room_for_a_journal(self):
        script = self.write("x.lua", self.READS)
        env = self.environment(MOONLET_JOURNAL=os.path.join(self.mnt, "journal.db"))
        done = self.inside(self.fill, "run", script, "go", env=env)
        self.assertEqual(done.out, "exit 1\n", done)
        self.assertRegex(done.err, r"journal.db: .*full")
        self.assertEqual(self.inside(self.fill, "run", script, "go", "--journal", "off", env=env).out, "done\nexit 0\n")

    def journal_lost(self, leave, *args, after=""):
        """A run whose journal has about this many KiB of the 512."""
        script = self.write("x.lua", self.READS)
        env = self.environment(MOONLET_JOURNAL=os.path.join(self.mnt, "journal.db"))
        return self.inside(f"head -c {512 - leave}k /dev/zero > filler", "run", script, "y" * 100_000, "--json", *args, env=env, after=after)

    def test_a_journal_that_becomes_full_ends_the_run(self):
        for leave in (512, 200):  # some way into the run, and at its first event
            with self.subTest(leave):
                done = self.journal_lost(leave)
                out = json.loads(done.out.splitlines()[0])
                self.assertEqual((out["stop_reason"], out["exit_code"], done.out.splitlines()[1:]), ("journal_lost", 1, ["exit 1"]), done)
                self.assertRegex(out["error"], r"journal.db: .*full")

    def test_a_journal_that_becomes_full_leaves_sound_memory(self):
        for leave in (170, 190, 210, 230, 250, 300, 400) * 10:  # about one in ten
            with self.subTest(leave):
                done = self.journal_lost(leave)
                self.assertTrue(done.out.endswith("\nexit 1\n"), done)
                self.assertNotIn("Sanitizer", done.err)

    def test_what_can_go_on_is_there(self):
        done = self.journal_lost(170, after=f"mount -o remount,size=64m {self.mnt}\n{harness.binary()} runs")
        if "it can go on" in done.err:
            self.assertIn(json.loads(done.out.splitlines()[0])["run"], "".join(done.out.splitlines()[1:]), done)

    def test_commits(self):
        """A commit that does not fit leaves the repository as it was."""
        repo = fixtures.Repo(os.path.join(self.dir, "source"), self.env)
        repo.write("a.txt", "alpha\n")
        head = repo.commit("begin")
        big = self.write("big", os.urandom(100_000).hex())
        done = self.inside(f"git clone -q --template= {repo.path} r\ncd r\ngit config user.name Ada\ngit config user.email ada@example.com\ncp {big} big.txt\n"
                           "cat /dev/zero > ../filler 2> /dev/null || true", "call", "git.commit", '{"message":"m","paths":["big.txt"]}', "--yes",
                           after="rm ../filler; git rev-parse HEAD; git status --porcelain; git fsck --strict 2>&1; find . -name '*.lock'")
        self.assertEqual(done.out, f"exit 1\n{head}\n?? big.txt\n", done)
        self.assertIn("No space left", done.err)


class FullOutputs(harness.Case):
    def test_every_command(self):
        self.file("x.lua", ANSWER)
        self.file("a.txt", "alpha\n")
        for args in (("--help",), ("--version",), ("help", "run"), ("tools",), ("tools", "--json"), ("tools", "file.read"), ("doctor",), ("doctor", "--json"),
                     ("call", "file.read", '{"path":"a.txt"}'), ("call", "file.read", '{"path":"a.txt"}', "--json"), ("call", "file.list", "{}", "--output", "stream-json"),
                     ("run", "./x.lua", "go"), ("run", "./x.lua", "go", "--json"), ("run", "./x.lua", "go", "--output", "stream-json")):
            with self.subTest(args):
                with open("/dev/full", "wb") as full:
                    done = self.finish(self.start(*args, stdout=full))
                self.assertEqual(done.code, 1, done)
                self.assertIn("No space left", done.err)
                # A reader that has left is no news to anybody.
                read, write = os.pipe()
                os.close(read)
                process = self.start(*args, stdout=write)
                os.close(write)
                done = self.finish(process)
                self.assertEqual((done.code, done.err), (1, ""), done)

    def test_standard_error_is_full_or_closed(self):
        """What cannot be said is not said; the answer and the exit code stand."""
        self.file("x.lua", ANSWER)
        read, closed = os.pipe()
        os.close(read)
        with open("/dev/full", "wb") as full:
            for label, where in (("full", full), ("closed", closed)):
                with self.subTest(label):
                    done = self.finish(self.start("run", "./x.lua", "go", "--verbose", stderr=where))
                    self.assertEqual((done.code, done.out), (0, MUCH + "\n"))
                    done = self.finish(self.start("run", "./none.lua", stderr=where))
                    self.assertEqual((done.code, done.out), (2, ""))
        os.close(closed)

    def test_signals_of_programs_are_as_they_should_be(self):
        """moonlet ignores SIGPIPE; what a tool starts must not inherit that, or `yes | head` there would never end."""
        done = self.moonlet("call", "shell", json.dumps({"command": "yes | head -n 1; sh -c 'kill -PIPE $$'; echo $?"}), "--yes")
        self.assertEqual((done.code, done.out), (0, f"y\n{128 + signal.SIGPIPE}\n[exit 0]\n"), done)


class LongLines(harness.Case):
    """A line of 100 MB that is not a model's: in a file, from a program, on stdin."""
    LONG = 100 << 20

    def setUp(self):
        super().setUp()
        with open(os.path.join(self.work, "long.txt"), "wb") as out:
            for _ in range(self.LONG >> 20):
                out.write(b"x" * (1 << 20))
            out.write(b"NEEDLE\nlast\n")

    def test_tools(self):
        for tool, args, said in (
            ("file.read", {"path": "long.txt"}, r"(?s)bytes more.*\blast"),
            ("file.read", {"path": "long.txt", "offset": 2}, r"\blast"),
            ("search", {"pattern": "NEEDLE", "path": "long.txt"}, r"1 match in 1 file\n\nlong.txt\n1: .*NEEDLE"),
            ("search", {"pattern": "last"}, r"\n2: last"),
            ("file.list", {}, str(self.LONG + 12)),
            ("shell", {"command": "cat long.txt"}, r"\A\[result of \d+ bytes cut"),
        ):
            with self.subTest(f"{tool} {args}"):
                done = self.moonlet("call", tool, json.dumps(args), "--yes")
                self.assertEqual(done.code, 0, done)
                self.assertRegex(done.out, said)
                self.assertLess(len(done.raw_out), 64 << 10)
        done = self.moonlet("call", "file.edit", '{"path":"long.txt","old":"last","new":"x"}', "--yes")
        self.assertEqual(done.code, 1, done)
        self.assertIn("too large", done.err)

    def test_search_takes_a_line_for_one(self):
        self.assertIn("1 match in 1 file\n", self.moonlet("call", "search", '{"pattern":"x","path":"long.txt"}').out)
        self.assertIn("no matches", self.moonlet("call", "search", '{"pattern":"x$","path":"long.txt"}').out)

    def test_search_of_a_line_in_pieces(self):
        """Matches that lie across pieces, at either end of the line, and lines around it with their numbers."""
        for size in ((1 << 20) - 3, (1 << 20) + 1, (3 << 20) + 7):
            for at in {at for at in (0, (1 << 20) - 5, (1 << 20) - 3, size // 2, size - 6) if at <= size - 6}:
                for before, end in ((b"", b"\n"), (b"first\nNEEDLE\n", b"\r\n"), (b"first\n", b"")):
                    line = bytearray(b"\xc3\xa4" * (size // 2) + b"b" * (size % 2))
                    line[at:at + 6] = b"NEEDLE"
                    self.file("line.txt", before + line + end + (b"last\nNEEDLE\n" if end else b""))
                    number = before.count(b"\n") + 1
                    want = [number - 1] * (b"NEEDLE" in before) + [number] + [number + 2] * bool(end)

                    def found(pattern, **more):
                        args = {"pattern": pattern, "path": "line.txt", **more}
                        out = self.moonlet("call", "search", json.dumps(args)).out
                        return [int(n) for n in re.findall(r"(?m)^(\d+): ", out)], [int(n) for n in re.findall(r"(?m)^(\d+)- ", out)]
                    with self.subTest(size=size, at=at, end=end):
                        self.assertEqual(found("NEEDLE")[0], want)
                        self.assertEqual(found("^NEEDLE")[0], want if at == 0 else [n for n in want if n != number])
                        self.assertEqual(found("NEEDLE$")[0], want if at == size - 6 else [n for n in want if n != number])
                        if not end:  # it follows "first"
                            self.assertEqual(found("last|first", context=1), ([1], [2]))

    def test_standard_input(self):
        self.file("x.lua", ANSWER)
        for args in (("run", "./x.lua", "-"), ("call", "file.read", "-")):
            with self.subTest(args), open(os.path.join(self.work, "long.txt"), "rb") as source:
                done = self.moonlet(*args, stdin=source)
                self.assertNotEqual(done.code, 0, done)
                self.assertEqual(done.out, "")
                self.assertIn("standard input is over 64 MiB", done.err)


if __name__ == "__main__":
    harness.main()
