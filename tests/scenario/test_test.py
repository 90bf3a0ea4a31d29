# SPDX-License-Identifier: MIT
"""moonlet test: what a test file can do, what its failures say, each format, snapshots, the guard, the clock, --watch."""
import json
import os
import re
import select
import signal
import time
import xml.etree.ElementTree as ElementTree

import harness
from mock_model import MockModel

REVIEW = """
local moon = require "moonlet"
return moon.agent { name = "review", model = "openai/gpt-5-mini", instructions = "Review.",
                    tools = { "git.diff", "git.status", "file.read", "file.write", "shell" } }
"""
HEAD = 'local t = require "moonlet.test"\nlocal moon = require "moonlet"\n'


def case(name, body):
    return f't.test("{name}", function()\n{body}\nend)\n'


class Tests(harness.Case):
    def setUp(self):
        super().setUp()
        self.file("review.lua", REVIEW)

    def tests(self, *cases, name="x_test.lua"):
        """Writes a test file of (name, body) pairs; the first body begins in line 4."""
        self.file(name, HEAD + "".join(case(*one) for one in cases))

    def run_tests(self, *arguments, **more):
        return self.moonlet("test", *arguments, **more)

    def report(self, *cases, arguments=(), code=None):
        """Runs the cases; {name: test} of the JSON report."""
        self.tests(*cases)
        done = self.run_tests("--output", "json", *arguments)
        if code is not None:
            self.assertEqual(done.code, code, done)
        return {test["name"]: test for test in done.json()["tests"]}

    def passes(self, *cases):
        for test in self.report(*cases).values():
            self.assertEqual(test["status"], "passed", json.dumps(test, indent=1))

    def fails(self, body, message, where="x_test.lua:4"):
        """The one failure of a test with this body."""
        test = self.report(("it", body), code=1)["it"]
        self.assertEqual(test["status"], "failed", test)
        failure = test["failures"][0]
        self.assertIn(message, failure["message"])
        self.assertEqual(failure.get("where"), where, failure)
        return failure


class Models(Tests):
    def test_scripted_answers_drive_a_real_run(self):
        self.tests(("the reviewer reads the diff", """
            local run = t.run("review.lua", {
              input = "go", git = true, files = { ["a.txt"] = "one\\n", ["d/b.txt"] = "two\\n" },
              model = t.model { t.call("git.status"), t.call("file.read", { path = "d/b.txt" }), "fine" },
            })
            t.equal(run.stop, "done")
            t.matches(run.text, "^fine$")
            t.called(run, "git.status", { n = 1 })
            t.called(run, "file.read", { arguments = { path = "d/b.txt" }, ok = true })
            t.not_called(run, "shell")
            t.equal(run.calls[1].result.entries, {})
            t.contains(run.calls[2].text, "two")
            t.equal(#run.messages, 3)
            t.equal(run.messages[1][1], { role = "system", content = "Review." })
            t.equal(run.messages[1][2].content, "go")
            t.equal(run.messages[3][#run.messages[3]].role, "tool")
            t.has(run.usage, { steps = 3, tool_calls = 2 })
            t.equal(run.events[1].type, "run.created")
        """))
        done = self.run_tests()
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertEqual(done.out, "TAP version 13\nok 1 - x_test.lua: the reviewer reads the diff\n1..1\n")

    def test_every_answer_has_to_be_asked_for(self):
        failure = self.fails('t.run("review.lua", { model = t.model { "a", "b", "c" } })', "2 of the model's 3 answers were not asked for")
        self.assertIn('"b"', failure["message"])
        self.fails('t.run("review.lua", { model = t.model { t.call("git.status") }, files = {} })',
                   'has 1 answer, and agent "review" asks for one more (in its step 2)')

    def test_a_run_that_goes_wrong_otherwise_can_be_looked_at(self):
        self.passes(
            ("provider", 'local r = t.run("review.lua", { model = t.model { { error = "overloaded" } } })\n'
                         't.equal(r.stop, "provider_unavailable") t.equal(r.error, "overloaded")'),
            ("limit", 'local r = t.run("review.lua", { limits = { steps = 1 }, model = t.model { t.call("git.status") } })\n'
                      't.equal(r.stop, "limit_steps")'),
            ("script", 'local r = t.run(function() error "no" end) t.equal(r.stop, "failed") t.contains(r.error, "no")'),
        )

    def test_agents_by_name(self):
        self.passes(("two", """
            local writer, critic = moon.agent { name = "writer", tools = {} }, moon.agent { name = "critic", tools = {}, model = "openai/x" }
            local run = t.run(function(input)
              local draft = assert(writer:run(input))
              return critic:run(draft)
            end, { input = { topic = "x" }, models = {
              writer = t.model { "a draft" },
              critic = t.model(function(request)
                t.equal(request.messages[#request.messages].content, "a draft")
                return "better"
              end),
            } })
            t.equal(run.text, "better")
            t.equal(run.requests[2].agent, "critic")
        """))

    def test_chains(self):
        self.file("chain.lua", """
            local moon = require "moonlet"
            local chain = moon.chain
            local writer, critic = moon.agent { name = "writer", tools = {} }, moon.agent { name = "critic", tools = {} }
            return chain.seq { chain.all { a = writer, b = critic }, function(both) return both.a .. both.b end }
        """)
        self.passes(
            ("by path", """
                local run = t.run("chain.lua", { input = "go", models = { writer = t.model { "one" }, critic = t.model { "two" } } })
                t.done(run)
                t.equal(run.text, "onetwo")
                t.equal(#run.requests, 2)"""),
            ("in place", """
                local run = t.run(moon.chain.seq { moon.agent { name = "writer", tools = {} }, function(text) return { text = text } end },
                  { input = "go", model = t.model { "one" } })
                t.equal(run.output, { text = "one" })"""),
        )

    def test_guard_refuses_real_models(self):
        with MockModel(lambda request: "real") as model:
            self.tests(
                ("named", 't.run("review.lua")'),
                ("default", 't.run(moon.agent { name = "plain" })'),
                ("swallowed", 't.run(function() local a = moon.agent { name = "inner", model = "custom/x" } a:run "x" return "ok" end)'),
                ("of the test itself", 'moon.agent { name = "own", model = "custom/x" }:run "x"'),
            )
            done = self.run_tests("--output", "json", env=self.environment(model, OPENAI_API_KEY="x", MOONLET_MODEL="custom/x"))
            self.assertEqual(model.requests, [])
        said = {test["name"]: test["failures"][0]["message"] for test in done.json()["tests"]}
        self.assertIn('agent "review" would ask openai/gpt-5-mini, and a test asks no real model', said["named"])
        self.assertIn('agent "plain" has no model', said["default"])
        self.assertIn('agent "inner" would ask custom/x', said["swallowed"])
        self.assertIn('agent "own" would ask custom/x', said["of the test itself"])

    def test_a_script_s_own_models_and_files_are_scripted_ones(self):
        self.file("m.lua", 'local moon = require "moonlet"\nreturn moon.model.script { "from a file" }')
        self.passes(
            ("inline", 't.equal(t.run(moon.agent { model = moon.model.script { "inline" } }).text, "inline")'),
            ("file", 't.equal(t.run("review.lua", { model = "m.lua" }).text, "from a file")'),
            ("offline", 't.done(t.run("brief", { model = "offline", git = true, files = { ["README.md"] = "# X\\n" } }))'),
        )


class Tools(Tests):
    def test_stand_ins_keep_schema_and_policy(self):
        self.passes(
            ("called", """
                local seen
                local run = t.run("review.lua", { policy = { shell = "allow" }, model = t.model { t.call("shell", { command = "make" }), "ok" },
                  tools = { shell = function(args, ctx) seen = args.command t.ok(ctx.run) return { exit_code = 0 } end } })
                t.equal(seen, "make")
                t.equal(run.calls[1].result, { exit_code = 0 })"""),
            ("schema", """
                local run = t.run("review.lua", { yes = true, model = t.model { t.call("shell", { cmd = "make" }), "ok" },
                  tools = { shell = function() error "not called" end } })
                t.called(run, "shell", { ok = false })"""),
            ("policy", """
                local run = t.run("review.lua", { model = t.model { t.call("shell", { command = "x" }) }, tools = { shell = function() error "no" end } })
                t.equal(run.stop, "needs_approval")"""),
            ("denied", """
                local run = t.run("review.lua", { policy = { ["*"] = "deny" }, model = t.model { t.call("git.status"), "ok" } })
                t.ok(run.calls[1].denied)"""),
            ("failing", """
                local run = t.run("review.lua", { yes = true, model = t.model { t.call("shell", { command = "x" }), "ok" },
                  tools = { shell = function() return nil, "no such thing" end } })
                t.equal(run.calls[1].ok, false) t.equal(run.calls[1].text, "no such thing")"""),
        )

    def test_approvals(self):
        self.passes(
            ("function", """
                local run = t.run("review.lua", { model = t.model { t.call("file.write", { path = "a", content = "1" }, "file.write", { path = "b", content = "2" }), "ok" },
                  approve = function(call) return call.arguments.path == "a", "not that" end })
                t.equal(t.read "a", "1") t.equal(t.read "b", nil)
                t.called(run, "file.write", { n = 1, ok = true })
                t.contains(run.calls[2].text, "not that")"""),
            ("table", """
                local run = t.run("review.lua", { model = t.model { t.call("shell", { command = "touch a" }), "ok" }, approve = { shell = true } })
                t.equal(t.read "a", "")"""),
        )

    def test_a_failed_check_in_a_stand_in_or_a_model_fails_the_test(self):
        self.fails("""local m = t.model { t.call("shell", { command = "x" }), "ok" }
            t.run("review.lua", { yes = true, model = m, tools = { shell = function(a) t.equal(a.command, "y") end } })""",
                   "the stand-in for shell: they are not equal", where="x_test.lua:5")
        self.fails('t.run("review.lua", { model = t.model(function(request) return request.nothing.here end) })',
                   "attempt to index a nil value")

    def test_workspace_is_the_test_s_own(self):
        before = set(os.listdir(self.env["TMPDIR"]))
        self.passes(
            ("one", 't.write("d/f.txt", "x") t.equal(t.read "d/f.txt", "x") t.equal(t.read "g", nil)\n'
                    't.contains(t.tool("file.read", { path = "d/f.txt" }), "x")\n'
                    'local gone, why = t.tool("file.read", { path = "nothing" }) t.equal(gone, nil) t.contains(why, "does not exist")'),
            ("two", 't.equal(t.read "d/f.txt", nil)'),
        )
        self.fails('t.write("../out", "x")', "without \"..\"")
        self.assertFalse(os.path.exists(os.path.join(self.work, "out")))
        self.assertEqual(set(os.listdir(self.env["TMPDIR"])), before)

    def test_repositories_are_the_same_each_time(self):
        body = """
            local ids = t.git {
              { message = "one", files = { ["a"] = "1\\n", ["b"] = "2\\n" }, tag = "v1" },
              { message = "two", files = { ["a"] = "2\\n" }, remove = { "b" }, author = "Ada <ada@example.org>", time = 1740000000 },
            }
            t.equal(ids, { "%s", "%s" })
            local log = t.tool("git.log", { limit = 9 })
            t.equal(log.commits[1].author, "Ada") t.equal(log.commits[2].time, "2025-01-01T09:00:00+00:00")
            t.equal(t.tool("git.log", { ref = "v1" }).commits[1].id, ids[1])
            t.equal(t.read "b", nil)
            t.equal(t.tool("git.status").total, 0)
            t.git { { message = "three", files = { c = "" } } }
            t.equal(#t.tool("git.log", {}).commits, 3)"""
        failure = self.report(("it", body % ("?", "?")))["it"]["failures"][0]
        ids = re.findall(r"[0-9a-f]{40}", failure["actual"])
        self.assertEqual(len(ids), 2, failure)
        self.passes(("again", body % tuple(ids)))
        self.fails('t.git { { files = {} } }', "commit 1 has no message")
        self.fails('t.git { { message = "x", author = "nobody" } }', "an author is")


class Clock(Tests):
    def test_days_pass_at_once(self):
        started = time.monotonic()
        self.passes(
            ("sleep", """
                local began = moon.time()
                local run = t.run(function() moon.sleep(30 * 86400) return tostring(moon.time()) end)
                t.equal(moon.time() - began, 30 * 86400.0)
                t.equal(run.seconds, 30 * 86400.0)"""),
            ("same each time", 't.equal(moon.time(), 1748779200.0) t.equal(math.random(1, 1000000), math.random(1, 1) * 599801)'),
            ("signal", """
                local run = t.run(function() local v = moon.wait("healthy", { timeout = 3600 }) moon.sleep(5) return v end,
                  { signals = { healthy = { version = "1.2" } } })
                t.equal(run.output, { version = "1.2" }) t.equal(run.seconds, 5.0)"""),
            ("timeout", """
                local run = t.run(function() local _, why = moon.wait("healthy", { timeout = 3600 }) return why end)
                t.equal(run.text, "timeout") t.equal(run.seconds, 3600.0)"""),
            ("a tool's time limit", """
                local slow = moon.tool { name = "slow", description = "x", timeout = 5, effects = { read_only = true },
                                         call = function() moon.sleep(100) return "late" end }
                local run = t.run(moon.agent { name = "a", tools = { slow } }, { model = t.model { t.call("slow"), "ok" } })
                t.contains(run.calls[1].text, "after 5 s")"""),
            ("the run's", """
                local run = t.run("review.lua", { yes = true, limits = { seconds = 60 },
                  model = t.model(function(request) return t.call("shell", { command = "echo " .. request.step }) end),
                  tools = { shell = function() moon.sleep(25) return "x" end } })
                t.equal(run.stop, "limit_seconds") t.equal(run.seconds, 60.0)"""),
        )
        self.assertLess(time.monotonic() - started, 30)

    def test_real_programs_take_real_time(self):
        self.passes(("shell", """
            local run = t.run("review.lua", { yes = true, model = t.model { t.call("shell", { command = "sleep 2.5; echo woken" }), "ok" } })
            t.contains(run.calls[1].text, "woken")"""))

    def test_environment_is_what_is_given(self):
        self.passes(("env", """
            t.equal(t.run(function() return moon.env("HOME") or "none" end).text, "none")
            t.equal(t.run(function() return moon.env("CHANNEL") end, { env = { CHANNEL = "beta" } }).text, "beta")"""))

    def test_what_never_comes(self):
        self.fails('t.run(function() moon.wait "never" end)', "waits for something that never comes", where="x_test.lua:3")

    def test_real_time_limit(self):
        self.tests(("slow", 't.run("review.lua", { yes = true, model = t.model { t.call("shell", { command = "sleep 60" }), "ok" } })'))
        started = time.monotonic()
        done = self.run_tests("--timeout", "1")
        self.assertEqual(done.code, 1, done)
        self.assertIn("too much real time", done.out)
        self.assertLess(time.monotonic() - started, 30)


class Failures(Tests):
    def test_checks_say_what_was_expected(self):
        failure = self.fails("t.equal({ a = 1, b = { 1, 2 } }, { a = 1, b = { 1, 3 } })", "they are not equal")
        self.assertEqual((failure["expected"], failure["actual"]), ("{ a = 1, b = { 1, 3 } }", "{ a = 1, b = { 1, 2 } }"))
        failure = self.fails('t.equal("a\\nb\\nc\\n", "a\\nx\\nc\\n", "the text")', "the text: they are not equal")
        self.assertEqual(failure["diff"], "@@ line 1 (- expected, + actual)\n  a\n- x\n+ b\n  c")
        self.fails('t.ok(nil, "there")', "there: it is not true")
        self.fails('t.matches("abc", "^b")', "does not match")
        self.fails('t.contains({ 1, 2 }, 3)', "does not hold")
        self.fails('t.has({ a = { b = 1 } }, { a = { b = 2 } })', "does not have all of this")
        self.fails('t.not_equal({ 1 }, { 1 })', "they are equal")
        self.fails('t.fails(function() end)', "raises no error")
        self.fails('t.fails(function() error "x" end, "y")', "another error")
        self.fails('t.fail "so"', "so")
        failure = self.fails('t.done(t.run(function() error "broken" end))', "did not end well")
        self.assertIn("broken", failure["actual"])
        failure = self.fails('local r = t.run("review.lua", { model = t.model { t.call("git.status"), "x" } }) t.called(r, "git.diff")',
                             "git.diff was called 0 times")
        self.assertIn("1. git.status {}", failure["actual"])
        self.passes(("all", """
            t.equal({ 1, { a = "b" } }, { 1, { a = "b" } }) t.has({ a = { b = 1, c = 2 } }, { a = { c = 2 } }) t.contains("a+b", "a+")
            t.contains({ { 1 } }, { 1 }) t.equal(t.fails(function() error({ message = "m" }) end, "m"), "m") t.not_equal(1, 2)"""))

    def test_errors_have_their_line(self):
        test = self.report(("it", '\nprint("seen")\nlocal x\nx.y = 1'), code=1)["it"]
        failure = test["failures"][0]
        self.assertEqual((failure["where"], failure["message"]), ("x_test.lua:7", "attempt to index a nil value (local 'x')"))
        self.assertIn("x_test.lua:7: in function", failure["trace"])
        self.assertEqual(test["printed"], "seen\n")

    def test_a_test_that_does_not_end_or_takes_all_memory(self):
        report = self.report(("loop", "while true do pcall(function() while true do end end) end"),
                             ("bomb", 'local s = {} while true do s[#s + 1] = ("x"):rep(100000) .. #s end'),
                             ("after", "t.ok(true)"), code=1)
        loop, bomb = report["loop"]["failures"][0], report["bomb"]["failures"][0]
        self.assertIn("instruction budget exceeded", loop["message"])
        self.assertEqual(loop["where"], "x_test.lua:4")
        self.assertIn("not enough memory", bomb["message"])
        self.assertEqual(report["after"]["status"], "passed")

    def test_files_that_cannot_be_loaded(self):
        self.tests(("fine", "t.ok(true)"), name="a_test.lua")
        self.file("b_test.lua", HEAD + 't.test("x" function() end)\n')
        self.file("c_test.lua", "return 1\n")
        self.file("d_test.lua", HEAD + 't.test("x", 1)\n')
        self.file("e_test.lua", HEAD + 't.test("x", function() end)\nt.test("x", function() end)\n')
        self.file("f_test.lua", HEAD + 't.run("review.lua")\n')
        done = self.run_tests("--output", "json")
        self.assertEqual(done.code, 1, done)
        said = {test["file"]: test["failures"][0] for test in done.json()["tests"] if test["status"] == "failed"}
        self.assertEqual(said["b_test.lua"]["where"], "b_test.lua:3")
        self.assertIn("')' expected near 'function'", said["b_test.lua"]["message"])
        self.assertIn("holds no tests", said["c_test.lua"]["message"])
        self.assertIn('the test "x" is a number', said["d_test.lua"]["message"])
        self.assertIn('there is a test "x" already, at e_test.lua:3', said["e_test.lua"]["message"])
        self.assertIn("t.run works within a test", said["f_test.lua"]["message"])
        self.assertEqual(done.json()["passed"], 1)

    def test_misuse(self):
        for body, message in (('t.run("review.lua", { modle = 1 })', 'unknown field "modle"'),
                              ("t.run()", "needs a script's path"),
                              ('t.run("nothing.lua")', "nothing.lua cannot be run: no script"),
                              ("t.model {}", "at least one answer"),
                              ("t.model { 1 }", "answer 1 is a number"),
                              ('t.run("review.lua", { model = 7 })', "the model is a number"),
                              ('t.run("review.lua", { tools = { shell = "x" } })', 'tools["shell"] is a string'),
                              ('t.run("review.lua", { policy = { shell = "alow" } })', 'policy["shell"] must be'),
                              ('t.run("review.lua", { limits = { step = 1 } })', "limits.step: a number for steps"),
                              ('t.run("review.lua", { env = "x" })', "env is a string"),
                              ('t.run("review.lua", "go")', "the options are a table"),
                              ('t.called({}, "x")', "takes what t.run returned"),
                              ('t.test("inner", function() end)', "t.test within a test")):
            with self.subTest(body):
                self.fails(body, message)
        self.file("bad.lua", "\nreturn (\n")
        self.fails('t.run("bad.lua")', "bad.lua:3: unexpected symbol")

    def test_the_module_is_for_test_files(self):
        self.file("agent.lua", HEAD + "return function() return 1 end")
        done = self.moonlet("run", "./agent.lua")
        self.assertEqual(done.code, 2, done)
        self.assertIn('"moonlet.test" is for test files, and is there under `moonlet test` only', done.err)
        self.fails('t.run("agent.lua")', "is for test files")

    def test_tests_are_isolated(self):
        self.file("helper.lua", "local n = 0\nreturn function() n = n + 1 return n end")
        self.file("x_test.lua", HEAD + 'local helper = require "helper"\nlocal count = 0\n'
                  + case("one", 'count = count + 1 leaked = 1 t.equal(count, 1) t.equal(helper(), 1)')
                  + case("two", 'count = count + 1 t.equal(leaked, nil) t.equal(count, 1) t.equal(helper(), 1)'))
        self.assertEqual(self.run_tests().code, 0)

    def test_skipping(self):
        self.file("x_test.lua", HEAD + 't.test("later", { skip = "not yet #1" }, function() error "no" end)\n' + case("here", 't.skip "no git"'))
        done = self.run_tests()
        self.assertEqual(done.code, 0, done)
        self.assertIn("ok 1 - x_test.lua: later # SKIP not yet \\#1\n", done.out)
        self.assertIn("ok 2 - x_test.lua: here # SKIP no git\n", done.out)


class Formats(Tests):
    def setUp(self):
        super().setUp()
        self.file("x_test.lua", HEAD + case("good # one", "t.ok(true)") + case("<bad> & ]]>", 'print("p\\1")\nt.equal("a\\nb\\n", "a\\n<c>\\n")')
                  + 't.test("off", { skip = "why" }, function() end)\n')

    def test_tap(self):
        done = self.run_tests("--output", "tap")
        self.assertEqual(done.code, 1, done)
        self.assertEqual(done.out, """TAP version 13
ok 1 - x_test.lua: good \\# one
not ok 2 - x_test.lua: <bad> & ]]>
  ---
  message: "they are not equal"
  at: "x_test.lua:8"
  diff: |2-
    @@ line 1 (- expected, + actual)
      a
    - <c>
    + b
  ...
ok 3 - x_test.lua: off # SKIP why
1..3
""")

    def test_junit(self):
        done = self.run_tests("--output", "junit")
        self.assertEqual(done.code, 1, done)
        root = ElementTree.fromstring(done.raw_out)
        self.assertEqual({key: root.get(key) for key in ("tests", "failures", "skipped")}, {"tests": "3", "failures": "1", "skipped": "1"})
        good, bad, off = root.findall("./testsuite/testcase")
        self.assertEqual((bad.get("classname"), bad.get("name")), ("x_test.lua", "<bad> & ]]>"))
        self.assertEqual(bad.find("failure").get("message"), "they are not equal")
        self.assertIn("x_test.lua:8\n@@ line 1", bad.find("failure").text)
        self.assertEqual(bad.find("system-out").text, "p\N{REPLACEMENT CHARACTER}\n")
        self.assertEqual(off.find("skipped").get("message"), "why")
        self.assertEqual(list(good), [])

    def test_junit_of_a_file_that_cannot_be_loaded(self):
        self.file("y_test.lua", "x x")
        root = ElementTree.fromstring(self.run_tests("y_test.lua", "--output", "junit").raw_out)
        self.assertEqual(root.find("./testsuite").get("errors"), "1")
        self.assertIn("y_test.lua:1", root.find("./testsuite/testcase/error").text)

    def test_pretty(self):
        done = self.run_tests("--output", "pretty")
        self.assertEqual(done.code, 1, done)
        out = re.sub(r"\([\d.]+ m?s\)", "(T)", done.out)
        self.assertEqual(out, """x_test.lua
  ok   good # one (T)
  FAIL <bad> & ]]> (T)
      x_test.lua:8: they are not equal
      @@ line 1 (- expected, + actual)
        a
      - <c>
      + b
      it printed:
        p\x01
  skip off (T)
      why

1 passed, 1 failed, 1 skipped (T)
""")

    def test_report_into_a_file(self):
        done = self.run_tests("--output", "junit", "-o", "report.xml")
        self.assertIn("not ok 2", done.out)
        with open(os.path.join(self.work, "report.xml"), "rb") as report:
            self.assertEqual(ElementTree.fromstring(report.read()).get("tests"), "3")
        self.assertEqual(self.run_tests("-o", "no/such/folder").code, 2)

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = self.finish(self.start("test", "-f", "good", stdout=full))
        self.assertEqual(done.code, 1, done)
        self.assertIn("cannot write the report", done.err)


class Finding(Tests):
    def test_folders_and_files(self):
        for name in ("a_test.lua", "deep/er/b_test.lua", ".hidden/c_test.lua", "node_modules/d_test.lua", "deep/helper.lua", "odd.lua"):
            self.file(name, HEAD + case("it", "t.ok(true)"))
        os.symlink(self.work, os.path.join(self.work, "loop"))
        self.assertEqual(self.run_tests("--list").out, "a_test.lua: it\ndeep/er/b_test.lua: it\n")
        self.assertEqual(self.run_tests("deep/", "odd.lua", "odd.lua", "--list").out, "deep/er/b_test.lua: it\nodd.lua: it\n")
        self.assertEqual(self.run_tests().code, 0)

    def test_filter(self):
        self.tests(("reads a diff", "t.ok(true)"), ("writes", "t.ok(true)"), ("reads a log", "t.ok(true)"))
        self.assertEqual(self.run_tests("--list", "--filter", "reads").out, "x_test.lua: reads a diff\nx_test.lua: reads a log\n")
        self.assertEqual(self.run_tests("--list", "-f", "x_*: r*log").out, "x_test.lua: reads a log\n")
        self.assertEqual(self.run_tests("--list", "-f", "diff", "-f", "writes").out, "x_test.lua: reads a diff\nx_test.lua: writes\n")
        self.assertEqual(self.run_tests("-f", "writes").out.count("\nok "), 1)

    def test_usage_errors(self):
        for arguments, message in ((("nothing",), "No such file"), (("--output", "xml"), "pretty, tap, junit or json"),
                                   (("--timeout", "0"), "from 1 to a day"), ((), "no *_test.lua is found beneath .")):
            done = self.run_tests(*arguments)
            self.assertEqual(done.code, 2, done)
            self.assertIn(message, done.err)
        self.tests(("it", "t.ok(true)"))
        done = self.run_tests("-f", "other")
        self.assertEqual(done.code, 2, done)
        self.assertIn("--filter", done.err)


class Documentation(Tests):
    def test_the_first_example_works(self):
        text = (harness.SOURCE / "docs" / "testing.md").read_text()
        self.file("tests/review_test.lua", re.search(r"```lua\n(.*?)```", text, re.S).group(1))
        self.assertEqual(self.run_tests("--update").code, 0)
        done = self.run_tests()
        self.assertEqual((done.code, done.out), (0, "TAP version 13\nok 1 - tests/review_test.lua: the reviewer reads the diff\n1..1\n"))

    def test_all_of_the_module_is_documented(self):
        text = (harness.SOURCE / "docs" / "testing.md").read_text()
        self.tests(("names", 'local names = {} for name in pairs(t) do names[#names + 1] = name end print(table.concat(names, " "))'))
        printed = self.run_tests("--output", "json").json()["tests"][0]["printed"]
        self.assertEqual([name for name in printed.split() if f"`t.{name}" not in text], [])
        self.tests(("fields", 't.run("review.lua", { nothing = 1 })'))
        message = self.run_tests("--output", "json").json()["tests"][0]["failures"][0]["message"]
        self.assertEqual([name for name in message.partition("there are ")[2].split(", ") if f"`{name}`" not in text], [])


class Snapshots(Tests):
    BODY = """
        local run = t.run("review.lua", {{ git = true, files = {{ a = "1\\n" }}, input = "go",
          model = t.model {{ t.call("shell", {{ command = "pwd; date +%Y-%m-%dT%H:%M:%SZ; git log --format=%H" }}), "{0}" }}, policy = {{ shell = "allow" }} }})
        t.snapshot(run)
        t.snapshot({{ b = 1, a = {{ 2 }} }}, "a table")"""
    PLACE = "snapshots/x_test/it.txt"

    def path(self, name=PLACE):
        return os.path.join(self.work, name)

    def test_written_compared_and_taken_anew(self):
        self.tests(("it", self.BODY.format("fine")))
        done = self.run_tests()
        self.assertEqual(done.code, 1, done)
        self.assertIn("there is no snapshot snapshots/x_test/it.txt yet (--update writes it)", done.out)
        self.assertFalse(os.path.exists(self.path()))
        done = self.run_tests("--update", "--output", "pretty")
        self.assertEqual(done.code, 0, done)
        self.assertIn("2 snapshots written", done.out)
        with open(self.path()) as file:
            text = file.read()
        for part in ("run review\ninput:\n    go\n", "step 1\n  calls shell {", "<workspace>", "<time>", "<commit 1>", "ends: done\n    fine\n"):
            self.assertIn(part, text)
        with open(self.path("snapshots/x_test/it-a-table.txt")) as file:
            self.assertEqual(file.read(), "{ a = { 2 }, b = 1 }\n")
        time.sleep(1.1)  # the date that the shell prints is another one now
        self.assertEqual(self.run_tests().code, 0)

        self.tests(("it", self.BODY.format("finer")))
        done = self.run_tests("--output", "json")
        failure = done.json()["tests"][0]["failures"][0]
        self.assertIn("it differs from the snapshot", failure["message"])
        self.assertIn("-     fine\n+     finer", failure["diff"])
        self.assertEqual(self.run_tests("-u").code, 0)
        self.assertEqual(self.run_tests().code, 0)

    def test_unused_ones_are_told_of_and_removed(self):
        self.tests(("it", 't.snapshot("x")'), ("other", 't.snapshot("y")'))
        self.run_tests("-u")
        self.tests(("it", 't.snapshot("x")'), ("new", "t.ok(true)"))
        done = self.run_tests("--output", "pretty")
        self.assertEqual(done.code, 0, done)
        self.assertIn("1 snapshots are looked at by no test", done.out)
        self.assertNotIn("no test", self.run_tests("--output", "pretty", "-f", "new").out)
        self.run_tests("-u", "-f", "new")
        self.assertTrue(os.path.exists(self.path("snapshots/x_test/other.txt")))
        self.run_tests("-u")
        self.assertEqual(os.listdir(self.path("snapshots/x_test")), ["it.txt"])

    def test_what_runs_side_by_side_reads_the_same(self):
        self.tests(("it", """
            local tools = {}
            for i = 1, 4 do
              tools[i] = moon.tool { name = "t" .. i, description = "x", effects = { read_only = true },
                                     call = function() moon.sleep(10 - i) return "r" .. i end }
            end
            t.snapshot(t.run(moon.agent { name = "a", tools = tools }, { model = t.model { t.call("t1", {}, "t2", {}, "t3", {}, "t4", {}), "ok" } }))"""))
        self.assertEqual(self.run_tests("-u").code, 0)
        with open(self.path()) as file:
            self.assertEqual(re.findall(r"\br(\d)\b", file.read()), ["1", "2", "3", "4"])


class Watch(Tests):
    def wait_for(self, process, text):
        """Reads stdout until the text has come; what follows it is for the next time."""
        rest = getattr(self, "rest", b"")
        deadline = time.monotonic() + harness.PATIENCE
        while text not in rest:
            ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(process.stdout.fileno(), 4096) if ready else b""
            self.assertTrue(piece, rest)
            rest += piece
        self.rest = rest.partition(text)[2]

    def test_runs_again_when_something_changes(self):
        self.tests(("it", 't.equal(t.run("review.lua", { model = t.model { "x" } }).name, "review")'))
        process = self.start("test", "--watch")
        self.wait_for(process, b"ok 1 - x_test.lua: it\n1..1\n")
        self.file("review.lua", REVIEW.replace('"review"', '"renamed"'))
        self.wait_for(process, b"not ok 1 - x_test.lua: it\n")
        self.wait_for(process, b"1..1\n")
        self.file("new/y_test.lua", HEAD + case("new", "t.ok(true)"))
        self.wait_for(process, b"ok 1 - new/y_test.lua: new\n")
        self.wait_for(process, b"1..2\n")
        process.send_signal(signal.SIGINT)
        done = self.finish(process)
        self.assertEqual(done.code, 1, done)

    def test_interrupted_in_the_middle_of_a_test(self):
        self.tests(("slow", 'print "begun"\nt.run("review.lua", { yes = true, model = t.model { t.call("shell", { command = "touch ../begun; sleep 60" }), "x" } })'),
                   ("never", "t.ok(true)"))
        process = self.start("test", "--watch")
        begun = os.path.join(self.env["TMPDIR"], "begun")
        deadline = time.monotonic() + harness.PATIENCE
        while not os.path.exists(begun) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        done = self.finish(process, timeout=30)
        self.assertNotIn("never", done.out)
        self.assertIn("interrupted", done.out)
        self.assertEqual([name for name in os.listdir(self.env["TMPDIR"]) if name.startswith("moonlet-test-")], [])


if __name__ == "__main__":
    harness.main()
