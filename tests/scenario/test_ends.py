# SPDX-License-Identifier: MIT
"""How runs are ended before they are done: Ctrl-C with nothing left behind, limits with nothing left, the same call again and again."""
import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import unittest

import fixtures
import harness
import terminal
from mock_model import MockModel, calls, text

PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def adopting():
    """Within it, what a child leaves behind becomes a child of this process; gives a function that waits for these and says which
    there were: (pid, "zombie" or "alive")."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise unittest.SkipTest("no subreaper")

    def left():
        found = []
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                state = "zombie"
                if not pid:
                    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
                        pid, state = int(children.read().split()[0]), "alive"
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                found.append((pid, state))
            except ChildProcessError:
                return found
    try:
        yield left
    finally:
        left()
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Interrupts(harness.Case):
    """SIGINT while the shell sleeps: exit 130 and nothing left, neither a program nor a zombie."""
    SLEEP = "echo $$ > pid; exec sleep 1000"  # no program but the one that sleeps
    PROBE = """
return { tool_calls = { { name = "shell", arguments = { command = [[%s]] } } } }
"""

    def setUp(self):
        super().setUp()
        self.file("x.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", tools = { "shell" }, model = moon.model.script(function(request)'
                  + self.PROBE % self.SLEEP + "end) }\n")
        os.mkfifo(os.path.join(self.work, "pid"))
        self.fifo = os.open(os.path.join(self.work, "pid"), os.O_RDWR)
        self.addCleanup(os.close, self.fifo)

    def pid(self):
        """Of the program that sleeps, as soon as it is there."""
        self.assertTrue(select.select([self.fifo], [], [], harness.PATIENCE)[0], "the shell did not start")
        return int(os.read(self.fifo, 100))

    def commands(self):
        yield "run", ("run", "./x.lua", "go", "--yes")
        yield "run, JSON", ("run", "./x.lua", "go", "--yes", "--json")
        yield "run, events", ("run", "./x.lua", "go", "--yes", "--output", "stream-json")
        yield "call", ("call", "shell", json.dumps({"command": self.SLEEP}), "--yes")
        yield "call, JSON", ("call", "shell", json.dumps({"command": self.SLEEP}), "--yes", "--json")

    def test_nothing_is_left_behind(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for label, args in self.commands():
                with self.subTest(f"{number.name} {label}"), adopting() as left:
                    process = self.start(*args)
                    pid = self.pid()
                    process.send_signal(number)
                    done = self.finish(process)
                    self.assertEqual(left(), [], f"left behind; {pid} is the tool's child")
                    self.assertEqual(done.code, 130, done)
                    if "JSON" in label:
                        self.assertEqual((done.json()["stop_reason"], done.json()["exit_code"]), ("interrupted", 130))
                    elif "events" in label:
                        self.assertEqual((done.events()[-1]["type"], done.events()[-1]["stop_reason"]), ("run.finished", "interrupted"))
                    else:
                        self.assertEqual(done.out, "")

    def test_a_typed_ctrl_c_and_a_closed_terminal(self):
        for label, args in self.commands():
            for way in ("typed", "closed"):
                with self.subTest(f"{label} {way}"), adopting() as left:
                    screen = terminal.Screen(self, *args)
                    self.pid()
                    if way == "typed":
                        screen.type(b"\x03")
                        code, _ = screen.end()
                    else:
                        screen.hang_up()
                        code = screen.process.wait(timeout=harness.PATIENCE)
                    self.assertEqual(left(), [])
                    # Where the terminal is gone so is the output; either is an end of its own.
                    self.assertIn(code, (130,) if way == "typed" else (130, 1))

    def test_a_family_that_will_not_go(self):
        """Children in the background, deaf to INT, TERM and HUP; all are in the shell's group."""
        command = "trap '' INT TERM HUP; sleep 1000 & sh -c 'sleep 1000 & sleep 1000' & echo $$ > pid; wait; wait"
        with adopting() as left:
            process = self.start("call", "shell", json.dumps({"command": command}), "--yes")
            self.pid()
            process.send_signal(signal.SIGINT)
            done = self.finish(process)
            found = left()
        self.assertEqual((done.code, [one for one in found if one[1] == "alive"]), (130, []), done)

    def test_a_call_that_waits_is_not_begun(self):
        with adopting() as left, MockModel([calls(("shell", {"command": self.SLEEP}), ("shell", {"command": "echo never > never"}))]) as model:
            process = self.start("run", self.agent(tools='"shell"'), "go", "--yes", "-m", "custom/mock", "--json", env=self.environment(model))
            self.pid()
            process.send_signal(signal.SIGINT)
            done = self.finish(process)
            self.assertEqual((done.code, done.json()["stop_reason"], left()), (130, "interrupted", []), done)
        self.assertFalse(os.path.exists(os.path.join(self.work, "never")), "a call was begun after the interrupt")

    def test_nothing_is_left_in_the_temporary_directory(self):
        command = "yes 0123456789 | head -c 300000; " + self.SLEEP
        with MockModel([calls(("shell", {"command": "yes 0123456789 | head -c 300000"})), calls(("shell", {"command": command}))]) as model:
            process = self.start("run", self.agent(tools='"shell"'), "go", "--yes", "-m", "custom/mock", env=self.environment(model))
            self.pid()
            self.assertTrue(os.listdir(self.env["TMPDIR"]), "a long result is kept in a file")
            process.send_signal(signal.SIGINT)
            self.assertEqual(self.finish(process).code, 130)
        self.assertEqual(os.listdir(self.env["TMPDIR"]), [])

    def test_a_tool_that_hangs_on_a_worker(self):
        repo = fixtures.Repo(os.path.join(self.dir, "cut"), self.env)
        repo.write("README.md", "# x\n")
        repo.commit("one")
        for name in repo.lines("rev-list", "--objects", "HEAD"):
            path = os.path.join(repo.path, ".git", "objects", name[:2], name[2:40])
            os.chmod(path, 0o600)
            os.truncate(path, 4)
        process = self.start("call", "git.log", "-C", repo.path)
        while process.poll() is None:  # until it spins
            with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
                if int(stat.read().rsplit(")", 1)[1].split()[11]) > os.sysconf("SC_CLK_TCK"):
                    break
            select.select([], [], [], 0.02)
        else:
            self.skipTest("this libgit2 notices it")
        process.send_signal(signal.SIGINT)
        try:
            self.assertEqual(process.wait(timeout=10), 130)
        except subprocess.TimeoutExpired:
            self.fail("still there 10 s after a SIGINT")


class Zero(harness.Case):
    """Nothing left is nothing left: no request is made, wherever the limit stands."""
    ROWS = (("steps", "limit_steps", 3), ("tool_calls", "limit_tool_calls", 3), ("tokens", "limit_tokens", 3), ("usd", "limit_usd", 3), ("seconds", "limit_seconds", 124))

    def places(self, limit):
        """(where the limit stands, arguments, fields of the agent)"""
        yield "command line", ("--limit", f"{limit}=0"), ""
        yield "agent", (), f"limits = {{ {limit} = 0 }},"
        self.file("user.lua", f"return {{ limits = {{ {limit} = 0 }} }}")
        yield "the user's configuration", ("--config", os.path.join(self.work, "user.lua")), ""
        self.file(".moonlet/config.lua", f"return {{ limits = {{ {limit} = 0 }} }}")
        yield "the repository's configuration", (), ""
        yield "the larger one beside it", ("--limit", f"{limit}=1000"), f"limits = {{ {limit} = 1000 }},"
        os.remove(os.path.join(self.work, ".moonlet/config.lua"))

    def stops(self, limit, reason, code):
        for place, args, fields in self.places(limit):
            with self.subTest(f"{limit}: {place}"), MockModel([]) as model:
                done, out = self.run_agent(model, self.agent(fields), "go", *args)
                self.assertEqual((done.code, out["stop_reason"], out["exit_code"], out["text"]), (code, reason, code, ""), done)
                self.assertEqual((len(model.requests), out["usage"]["steps"], out["usage"]["tool_calls"]), (0, 0, 0))
                self.assertIn("the limit of 0", out["error"])

    def test_no_request(self):
        for row in self.ROWS:
            self.stops(*row)

    def test_no_tool_runs_of_more_than_are_left(self):
        """All calls of an answer or none; and who has made all may still answer."""
        write = ("file.write", {"path": "made", "content": "x"})
        for label, script, code, made in (("too many", [calls(write, write)], 3, 0), ("one, and one more", [calls(write), calls(write)], 3, 1),
                                          ("one, and an answer", [calls(write), text("ok")], 0, 1)):
            with self.subTest(label), MockModel(script) as model:
                done, out = self.run_agent(model, self.agent(), "go", "--yes", "--limit", "tool_calls=1")
                self.assertEqual((done.code, out["usage"]["tool_calls"]), (code, made), done)
                self.assertEqual(os.path.exists(os.path.join(self.work, "made")), made == 1)
                if code:
                    self.assertEqual((out["stop_reason"], out["error"]), ("limit_tool_calls", "the limit of 1 tool call is reached"))

    def test_what_is_left_is_what_the_steps_before_left(self):
        """The same limits used up on the way: the request that would be too much is not made."""
        self.file("a.txt", "alpha\n")
        self.file("user.lua", "return { providers = { custom = { price = { input = 1000, cached = 1000, output = 1000 } } } }")
        config = ("--config", os.path.join(self.work, "user.lua"))
        for limit, reason in (("steps=1", "limit_steps"), ("tokens=14", "limit_tokens"), ("usd=0.014", "limit_usd")):
            with self.subTest(limit), MockModel([calls(("file.read", {"path": "a.txt"}), usage=(9, 5))]) as model:
                done, out = self.run_agent(model, self.agent(), "go", "--limit", limit, *config)
                self.assertEqual((done.code, out["stop_reason"], out["usage"]["tool_calls"]), (3, reason, 1), done)

    def test_a_child_has_no_more_than_its_parent(self):
        """A function that runs an agent: the limits of the run hold for both."""
        self.file("both.lua", """
            local moon = require "moonlet"
            local child = moon.agent { name = "child", limits = { steps = 100 } }
            return function(input)
              local answer, err = child:run(input)
              return answer or ("stopped: " .. tostring(err.stop))
            end""")
        for limit, reason, code in self.ROWS:
            with self.subTest(limit), MockModel([]) as model:
                done = self.moonlet("run", "./both.lua", "go", "-m", "custom/mock", "--json", "--limit", f"{limit}=0", env=self.environment(model))
                self.assertEqual(len(model.requests), 0, done)
                self.assertIn(reason, done.out)
                self.assertIn(done.code, (0, code), done)


class SameCall(harness.Case):
    def again(self, call, script_of, tools='"file", "shell"', requests=4):
        self.file("a.txt", "alpha\n")
        with MockModel(script_of(call)) as model:
            done, out = self.run_agent(model, self.agent(tools=tools), "go", "--yes")
        self.assertEqual((done.code, out["stop_reason"]), (3, "repeated_call"), done)
        self.assertIn(call[0], out["error"])
        self.assertEqual(len(model.requests), requests)
        return out

    def test_four_messages(self):
        for call in (("file.read", {"path": "a.txt"}), ("file.read", {"path": "none.txt"}), ("shell", {"command": "echo hi"}), ("file.list", {})):
            with self.subTest(call):
                self.again(call, lambda call: [calls(call)] * 4)

    def test_a_call_that_changes_things_is_not_made_a_fourth_time(self):
        self.again(("shell", {"command": "echo run >> ran"}), lambda call: [calls(call)] * 4)
        with open(os.path.join(self.work, "ran"), encoding="ascii") as ran:
            self.assertEqual(ran.read(), "run\n" * 3)

    def test_in_one_message(self):
        self.again(("shell", {"command": "echo run >> ran"}), lambda call: [calls(*[call] * 6)], requests=1)
        with open(os.path.join(self.work, "ran"), encoding="ascii") as ran:
            self.assertEqual(ran.read(), "run\n" * 3)

    def test_in_one_message_side_by_side(self):
        self.again(("file.read", {"path": "a.txt"}), lambda call: [calls(*[call] * 6)], requests=1)

    def test_in_two_messages_side_by_side(self):
        out = self.again(("file.read", {"path": "a.txt"}), lambda call: [calls(*[call] * 2)] * 2, requests=2)
        self.assertEqual(out["usage"]["tool_calls"], 4, "counted when they were asked for")

    def test_equal_calls_apart_from_each_other(self):
        self.file("a.txt", "alpha\n")
        read, listed = ("file.read", {"path": "a.txt"}), ("file.list", {})
        with MockModel([calls(read, read, listed, read, read), text("ok")]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["text"]), (0, "ok"), done)

    def test_refused_calls_count(self):
        self.file("a.txt", "alpha\n")
        with MockModel([calls(("shell", {"command": "echo hi"}))] * 4) as model:
            done, out = self.run_agent(model, self.agent(tools='"shell"'), "go", "--policy", "shell=deny")
        self.assertEqual((done.code, out["stop_reason"]), (3, "repeated_call"), done)

    def test_with_text_beside_it(self):
        """Other words make no other call."""
        self.file("a.txt", "alpha\n")
        with MockModel([calls(("file.read", {"path": "a.txt"}), content=f"Attempt {number}.") for number in range(4)]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["stop_reason"]), (3, "repeated_call"), done)


if __name__ == "__main__":
    harness.main()
