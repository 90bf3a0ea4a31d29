# SPDX-License-Identifier: MIT
"""What runs wait for, and going on with those whose time has come."""
import datetime
import json
import os
import sqlite3
import time
import unittest

import harness


class Due(harness.Case):
    def setUp(self):
        super().setUp()
        self.journal = os.path.join(self.home, "state", "moonlet", "journal.db")

    def function(self, body, name="f"):
        return self.file(f"{name}.lua", 'local moon = require "moonlet"\nreturn function(input, ctx)\n' + body + "\nend\n")

    def runs(self, *args):
        return json.loads(self.moonlet("runs", "--json", *args).out)

    def park(self, body, name="f"):
        """A run that waits; gives its id."""
        done = self.moonlet("run", self.function(body, name), "x", "--park", "--json")
        self.assertEqual(done.code, 4, done)
        return done.json()["run"]

    def nap(self, name, then="", seconds=0.2):
        """One that sleeps for a moment, gives its name and its input, and was parked before the moment was over."""
        while True:
            script = self.function(f'moon.sleep({seconds}) {then} return "{name} " .. input', name)
            done = self.moonlet("run", script, "x", "--park", "--json")
            if done.code == 4:
                return done.json()["run"]
            self.assertEqual(done.json()["stop_reason"], "done", done)  # too slow
            seconds *= 2

    def wait_until(self, ok):
        deadline = time.monotonic() + harness.PATIENCE
        while not ok():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def wait_for_due(self, *runs):
        self.wait_until(lambda: {r["run"] for r in self.runs("--due")} >= set(runs))

    def seconds_left(self, wait):
        return datetime.datetime.fromisoformat(wait["due"].replace("Z", "+00:00")).timestamp() - time.time()

    def test_waits_are_told(self):
        rows = (
            ("moon.sleep(3 * 86400)", [("time", None, 3 * 86400)]),
            ('moon.wait("go")', [("signal", "go", None)]),
            ('moon.sleep(0); moon.wait("healthy", { timeout = 7200 })', [("signal", "healthy", 7200)]),
        )
        for body, wants in rows:
            with self.subTest(body):
                self.park(body)
                waits = self.runs("--limit", "1")[0]["waits"]
                self.assertEqual([(w["kind"], w.get("name")) for w in waits], [w[:2] for w in wants])
                for wait, (_, _, seconds) in zip(waits, wants):
                    self.assertEqual("due" in wait, seconds is not None)
                    if seconds:
                        self.assertAlmostEqual(self.seconds_left(wait), seconds, delta=600)
        shown = self.moonlet("runs").out.splitlines()
        self.assertIn("waits for", shown[0])
        self.assertRegex(shown[1], r" signal healthy, in 1(19 min|20 min|h)? ")
        self.assertIn(" signal go ", shown[2])
        self.assertRegex(shown[3], r" time, in [23] d ")
        self.assertEqual(self.runs("--due"), [])
        self.assertIn("no runs that are due", self.moonlet("runs", "--due").err)

    def test_an_approval_is_told_until_it_is_given(self):
        script = self.agent("""model = moon.model.script(function(r)
            if #r.messages > 2 then return "end" end
            return { tool_calls = { { name = "shell", arguments = { command = "true" } } } } end)""", tools='"shell"')
        self.assertEqual(self.moonlet("run", script, "go").code, 4)
        run = self.runs()[0]
        self.assertEqual(run["waits"], [{"kind": "approval", "name": "shell", "call": "c1"}])
        self.assertIn(" approval shell ", self.moonlet("runs").out)
        self.moonlet("approve", run["run"], run["waits"][0]["call"])
        self.assertEqual(self.moonlet("resume", run["run"]).code, 0)
        self.assertEqual(self.runs()[0]["waits"], [])
        self.assertNotIn("waits for", self.moonlet("runs").out)

    def test_waits_of_branches_that_ended_are_not_told(self):
        """A tool that sleeps and is stopped by its time limit; then the function waits for a signal."""
        self.file("f.lua", """local moon = require "moonlet"
            local nap = moon.tool { name = "nap", description = "n", effects = { read_only = true }, call = function() moon.sleep(86400) end }
            local kid = moon.agent { name = "kid", tools = { nap }, limits = { seconds = 1 },
              model = moon.model.script { { tool_calls = { { name = "nap", arguments = {} } } } } }
            return function() kid:run("x") moon.wait("go") end""")
        process = self.start("run", os.path.join(self.work, "f.lua"), "x")
        self.wait_until(lambda: os.path.exists(self.journal) and any(r["state"] == "running" for r in self.runs()))
        run = self.runs()[0]["run"]

        def finished():
            events = self.moonlet("show", run, "--events").out
            return '"kind":"wait go"' in events
        self.wait_until(finished)
        process.kill()
        process.wait()
        self.assertEqual(self.moonlet("resume", run, "--park").code, 4)
        self.assertEqual([(w["kind"], w.get("name")) for w in self.runs()[0]["waits"]], [("signal", "go")])

    def test_all_that_are_due_go_on_and_the_worst_code_counts(self):
        a = self.nap("a", seconds=4)  # begun first, and due last
        b = self.nap("b")
        later = self.park("moon.sleep(86400)", "c")
        self.wait_for_due(a, b)
        self.assertEqual([r["run"] for r in self.runs("--due")], [b, a])
        self.assertEqual([r["waits"][0]["kind"] for r in self.runs("--due")], ["time", "time"])
        self.assertEqual([r["run"] for r in self.runs("--due", "--limit", "1")], [b])
        self.assertIn(" time, due ", self.moonlet("runs", "--due").out)
        done = self.moonlet("resume", "--due")
        self.assertEqual((done.code, done.out), (0, "b x\na x\n"), done)
        self.assertEqual(self.runs("--due"), [])
        self.assertEqual({r["run"]: r["state"] for r in self.runs() if r["run"] in (a, b, later)}, {a: "done", b: "done", later: "waiting"})
        done = self.moonlet("resume", "--due", "--json")
        self.assertEqual((done.code, done.out, done.err), (0, "", ""), done)

        self.wait_for_due(self.nap("d", "moon.sleep(86400)"))
        done = self.moonlet("resume", "--due", "--quiet")
        self.assertEqual((done.code, done.out, done.err), (4, "", ""), done)
        again, bad, fine = self.nap("e", "moon.sleep(86400)"), self.nap("f", 'error("broken")'), self.nap("g")
        self.wait_for_due(again, bad, fine)
        done = self.moonlet("resume", "--due", "--json")
        self.assertEqual(done.code, 1, done)
        made = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual({m["run"]: m["stop_reason"] for m in made}, {again: "waiting", bad: "failed", fine: "done"})

    def test_one_that_died_in_its_sleep_is_due(self):
        process = self.start("run", self.function('moon.sleep(1) return "woke"'), "x")
        self.wait_until(lambda: os.path.exists(self.journal) and self.timers())
        process.kill()
        process.wait()
        run = self.runs()[0]
        self.assertEqual(run["state"], "died")
        self.wait_for_due(run["run"])
        done = self.moonlet("resume", "--due", "--quiet")
        self.assertEqual((done.code, done.out, done.err), (0, "woke\n", ""), done)

    def timers(self):
        try:
            with sqlite3.connect(self.journal) as db:
                return db.execute("SELECT count(*) FROM timers").fetchone()[0]
        except sqlite3.OperationalError:
            return 0

    def test_one_that_was_cancelled_or_is_driven_is_not_due(self):
        gone, other = self.nap("gone"), self.nap("other")
        self.assertEqual(self.moonlet("cancel", gone).code, 0)
        self.wait_for_due(other)
        self.assertEqual([r["run"] for r in self.runs("--due")], [other])

    def test_each_works_in_its_own_directory(self):
        with open(os.path.join(self.work, "here.txt"), "w", encoding="utf-8") as out:
            out.write("found\n")
        script = self.agent("""model = moon.model.script(function(r)
            local last = r.messages[#r.messages]
            if last.role == "tool" then return last.content end
            return { tool_calls = { { name = "nap", arguments = {} } , { name = "file.read", arguments = { path = "here.txt" } } } } end)""",
                            tools='"file", nap', body="""local nap = moon.tool { name = "nap", description = "n", effects = { read_only = true },
            call = function() moon.sleep(3) return "rested" end }""")
        self.assertEqual(self.moonlet("run", script, "go", "--park").code, 4)
        self.wait_for_due(self.runs()[0]["run"])
        done = self.moonlet("resume", "--due", cwd=self.home)
        self.assertEqual((done.code, "found" in done.out), (0, True), done)

    def test_what_does_not_go_together(self):
        for args in (("1k1a", "--due"), ("--due", "-C", "."), ("--due", "-o", "x")):
            done = self.moonlet("resume", *args)
            self.assertEqual((done.code, "--due takes all" in done.err), (2, True), done)


if __name__ == "__main__":
    harness.main()
