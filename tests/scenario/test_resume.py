# SPDX-License-Identifier: MIT
"""Runs that are kept: resumed after a limit, a signal, kill -9; approved and denied from other processes."""
import json
import os
import pathlib
import signal
import sqlite3
import time
import unittest

import cut
import harness
import journal_rows

# A model that makes the calls of a list, one message each, and ends with all results in one line.
COUNTING = """
local function script(steps, last)
  return moon.model.script(function(r)
    local out = {}
    for _, m in ipairs(r.messages) do if m.role == "tool" then out[#out + 1] = m.content:gsub("\\n", " ") end end
    local step = steps[#out + 1]
    if step then return { text = "step " .. #out, tool_calls = { step } } end
    return (last or "") .. table.concat(out, "|")
  end)
end
local function sh(command) return { name = "shell", arguments = { command = command } } end
"""


class Kept(harness.Case):
    def setUp(self):
        super().setUp()
        self.journal = os.path.join(self.home, "state", "moonlet", "journal.db")

    def runs(self, *args):
        return json.loads(self.moonlet("runs", "--json", "--limit", "0", *args).out)

    def last(self):
        return self.runs()[0]

    def events(self, run, *types):
        lines = [json.loads(line) for line in self.moonlet("show", run, "--events").out.splitlines()]
        return [e for e in lines if not types or e["type"] in types]

    def shell_agent(self, *commands, name="probe", more=""):
        steps = ", ".join(f"sh {json.dumps(c)}" for c in commands)
        return self.agent(f"model = script({{ {steps} }}, 'end: '), {more}", name=name, tools='"shell", "file"', body=COUNTING)

    def read(self, name):
        path = pathlib.Path(self.work, name)
        return path.read_text() if path.exists() else ""


class Resume(Kept):
    def test_a_run_goes_on_after_a_limit_with_a_larger_one(self):
        script = self.shell_agent(*[f"echo {n} >> log; echo {n}" for n in range(4)])
        whole = self.moonlet("run", script, "go", "--yes", "--journal", "off")
        os.unlink(os.path.join(self.work, "log"))
        done = self.moonlet("run", script, "go", "--yes", "--limit", "steps=2")
        self.assertEqual(done.code, 3, done)
        run = self.last()
        self.assertIn(f"moonlet resume {run['run']}", done.err)
        self.assertEqual((run["state"], run["resumable"], run["steps"]), ("limit_steps", True, 2))
        self.assertEqual(self.moonlet("resume", "--yes").code, 3)  # the limit that it was started with holds
        self.assertEqual(self.moonlet("resume", run["run"][:12], "--yes", "--limit", "steps=3").code, 3)
        done = self.moonlet("resume", run["run"], "--yes", "--limit", "steps=10")
        self.assertEqual((done.code, done.out), (0, whole.out), done)
        self.assertEqual(self.read("log"), "0\n1\n2\n3\n")
        self.assertEqual(self.last()["state"], "done")

    def test_a_list_of_answers_goes_on_where_it_was(self):
        call = "{ tool_calls = { { name = 'shell', arguments = { command = 'echo %d >> log' } } } }"
        script = self.agent(f"model = moon.model.script {{ {call % 1}, {call % 2}, 'the end' }}", tools='"shell"')
        self.assertEqual(self.moonlet("run", script, "go", "--yes", "--limit", "steps=1").code, 3)
        done = self.moonlet("resume", "--yes", "--limit", "steps=9")
        self.assertEqual((done.code, done.out), (0, "the end\n"), done)
        self.assertEqual(self.read("log"), "1\n2\n")

    def test_an_output_schema_holds_after_a_resume(self):
        script = self.agent("""model = moon.model.script(function(r)
            local last = r.messages[#r.messages]
            if last.role == "tool" or last.content:find("does not fit", 1, true) then return '{"n":1}' end
            if last.content:find("JSON Schema", 1, true) and #r.messages < 3 then return { tool_calls = { sh "echo 1 >> log" } } end
            return "no JSON" end)""", tools='"shell"', body=COUNTING)
        schema = self.file("s.json", '{"type":"object","required":["n"]}')
        done = self.moonlet("run", script, "go", "--yes", "--limit", "steps=1", "--output-schema", schema)
        self.assertEqual(done.code, 3, done)
        done = self.moonlet("resume", "--yes", "--limit", "steps=9", "--output", "json")
        self.assertEqual((done.code, done.json()["output"]), (0, {"n": 1}), done)
        self.assertEqual(self.read("log"), "1\n")

    def test_doctor_tells_where_runs_are_kept(self):
        self.assertIn(self.journal, self.moonlet("doctor").out)
        self.assertIn("off", self.moonlet("doctor", env=dict(self.env, MOONLET_JOURNAL="off")).out)

    def test_a_finished_run_is_not_resumed(self):
        self.assertEqual(self.moonlet("run", self.shell_agent(), "go").code, 0)
        done = self.moonlet("resume", self.last()["run"])
        self.assertEqual(done.code, 2, done)
        self.assertIn("is finished", done.err)
        self.assertIn("no run", self.moonlet("resume").err)

    def test_an_unknown_run_is_an_error(self):
        self.moonlet("run", self.shell_agent(), "go")
        for command in (["resume", "zzz"], ["show", "zzz"], ["approve", "zzz"], ["deny", "zzz"]):
            done = self.moonlet(*command)
            self.assertEqual(done.code, 2, done)
            self.assertIn('no run\'s id begins with "zzz"', done.err)

    def test_the_workspace_is_the_runs_own(self):
        script = self.shell_agent("pwd", "pwd")
        self.moonlet("run", script, "go", "--yes", "--limit", "steps=2")
        done = self.moonlet("resume", "--yes", "--limit", "steps=9", cwd=self.home)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.out.count(os.path.realpath(self.work)), 2, done)

    def test_a_journal_can_be_turned_off_and_placed(self):
        script = self.shell_agent()
        self.moonlet("run", script, "go", "--journal", "off")
        self.moonlet("run", script, "go", env=dict(self.env, MOONLET_JOURNAL="off"))
        self.assertEqual(self.runs(), [])
        self.moonlet("run", script, "go", "--journal", "here.db")
        self.assertEqual(len(self.runs("--journal", "here.db")), 1)
        os.mkdir(os.path.join(self.work, ".moonlet"))
        self.moonlet("run", script, "go")
        self.assertTrue(os.path.exists(os.path.join(self.work, ".moonlet", "journal.db")))
        self.assertEqual(os.stat(os.path.join(self.work, ".moonlet", "journal.db")).st_mode & 0o777, 0o600)

    def test_a_journal_that_cannot_be_opened_is_an_error_before_the_run(self):
        script = self.shell_agent("touch ran")
        pathlib.Path(self.work, "text").write_text("no database, but long enough to be taken for one\n" * 50)
        for place in ("text", "/proc/nowhere/journal.db", "."):
            done = self.moonlet("run", script, "go", "--yes", "--journal", place)
            self.assertNotEqual(done.code, 0, done)
            self.assertIn("journal", done.err)
            self.assertFalse(os.path.exists(os.path.join(self.work, "ran")))

    def test_damage_is_found_and_nothing_is_done(self):
        script = self.shell_agent("echo 1 >> log", "echo 2 >> log")
        self.moonlet("run", script, "go", "--yes", "--limit", "steps=2")
        with sqlite3.connect(self.journal) as db:
            db.create_function("bytes_replaced", 3, lambda data, old, new: data.replace(old.encode(), new.encode()))
            db.execute("UPDATE records SET data = bytes_replaced(data, 'exit 0', 'exit 1')")
        before = self.read("log")
        done = self.moonlet("resume", "--yes", "--limit", "steps=9")
        self.assertEqual(done.code, 1, done)
        self.assertIn("damaged", done.err)
        self.assertEqual(self.read("log"), before)
        done = self.moonlet("runs", "--check")
        self.assertEqual(done.code, 1, done)
        self.assertIn("does not fit its hash", done.err)

    def test_a_record_that_is_gone_is_found(self):
        self.moonlet("run", self.shell_agent("echo 1"), "go", "--yes", "--limit", "steps=1")
        with sqlite3.connect(self.journal) as db:
            journal_rows.remove(db, 3)
        done = self.moonlet("resume", "--yes", "--limit", "steps=9")
        self.assertEqual(done.code, 1, done)
        self.assertIn("record 3 is missing", done.err)

    def test_a_plan_stands_after_a_resume(self):
        plan = '{ name = "plan", arguments = { items = { { text = "a", state = "doing" } } } }'
        script = self.agent(f"plan = true, model = script({{ {plan}, sh 'echo 1', sh 'echo 2' }})", tools='"shell"', body=COUNTING)
        self.moonlet("run", script, "go", "--yes", "--limit", "steps=2")
        done = self.moonlet("resume", "--yes", "--limit", "steps=9")
        self.assertEqual(done.code, 0, done)
        self.assertNotIn("write your plan first", done.out)
        self.assertEqual(len(self.events(self.last()["run"], "plan.updated")), 1)

    def test_functions_agents_and_logs_are_replayed(self):
        script = self.file("f.lua", COUNTING.join(['local moon = require "moonlet"\n', """
            local function worker(name) return moon.agent { name = name, tools = { "shell" },
              model = script({ sh("echo " .. name .. " >> log; echo " .. name) }, name .. ": ") } end
            return function(input, ctx)
              local r = {}
              moon.log.info("begin")
              r[1] = math.random(1000000)
              local x = assert(worker("a"):run(input))
              for k in pairs({ zeta = 1, alpha = 1, mid = 1, [3] = 1 }) do r[#r + 1] = k end
              r[#r + 1] = math.random(1000000)
              r[#r + 1] = assert(worker("b"):run(x))
              return table.concat(r, " ")
            end
        """]))
        done = self.moonlet("run", script, "go", "--yes", "--limit", "steps=3", "--output", "stream-json")
        self.assertEqual(done.code, 3, done)
        run = self.last()["run"]
        first = self.moonlet("resume", "--yes", "--limit", "steps=9")
        self.assertEqual(first.code, 0, first)
        self.assertRegex(first.out, r"^\d+ 3 alpha mid zeta \d+ b: b")
        self.assertEqual(self.read("log"), "a\nb\n")
        self.assertEqual(len(self.events(run, "log")), 1)

    def test_a_changed_script_stops_with_both_operations(self):
        def write(first, second):
            return self.file("f.lua", COUNTING.join(['local moon = require "moonlet"\n', f"""
                local function worker(name) return moon.agent {{ name = name, tools = {{ "shell" }},
                  model = script({{ sh("echo " .. name .. " >> log") }}) }} end
                return function(input)
                  {first}
                  return assert(worker("b"):run({second}))
                end
            """]))
        script = write('assert(worker("a"):run(input))', "input")
        self.moonlet("run", script, "go", "--yes", "--limit", "steps=3")
        self.assertEqual(self.read("log"), "a\nb\n")
        for first, second, words in (
                ('assert(worker("c"):run(input))', "input", ["a run of a", "one of c"]),
                ('assert(worker("a"):run("else"))', "input", ['"go"', '"else"']),
                ("", "input", ["a run of a", "one of b"]),
                ('do return "early" end', "input", ["run.created", "the end of the run"])):
            with self.subTest(first):
                write(first, second)
                done = self.moonlet("resume", "--yes", "--limit", "steps=9")
                self.assertEqual(done.code, 2, done)
                self.assertIn("the script has changed", done.err)
                for word in words:
                    self.assertIn(word, done.err)
                self.assertEqual(self.read("log"), "a\nb\n")
        write('local unused = 1; assert(worker("a"):run(input))', "input")  # a change that does not matter
        self.assertEqual(self.moonlet("resume", "--yes", "--limit", "steps=9").code, 0)

    def test_the_recorded_script_and_its_modules_can_be_taken(self):
        os.makedirs(os.path.join(self.work, "lib"))
        module = self.file("lib/words.lua", 'return { last = "one" }')
        script = self.file("f.lua", COUNTING.join(['local moon = require "moonlet"\nlocal words = require "lib.words"\n', """
            return moon.agent { name = "f", tools = { "shell" }, model = script({ sh "echo 1", sh "echo 2" }, words.last .. ": ") }
        """]))
        self.moonlet("run", script, "go", "--yes", "--limit", "steps=2")
        run = self.last()["run"]
        self.file("lib/words.lua", 'return { last = "two" }')
        self.file("f.lua", "this is no Lua")
        self.assertEqual(self.moonlet("resume", run, "--yes", "--limit", "steps=3").code, 2)
        done = self.moonlet("fork", run, "--yes", "--limit", "steps=9", "--recorded-script")
        self.assertEqual(done.code, 0, done)
        self.assertTrue(done.out.startswith("one: "), done)
        os.unlink(script)  # a file that is gone is taken from the journal too
        os.unlink(module)
        done = self.moonlet("resume", run, "--yes", "--limit", "steps=9")
        self.assertEqual(done.code, 0, done)
        self.assertTrue(done.out.startswith("one: "), done)

    def test_a_changed_script_can_be_accepted_by_a_fork(self):
        self.moonlet("run", self.shell_agent("echo 1 >> log; echo a", "echo 2 >> log; echo b"), "go", "--yes", "--limit", "steps=2")
        run = self.last()["run"]
        self.shell_agent("echo 1 >> log; echo a", "echo 3 >> log; echo c", more='instructions = "Otherwise."')
        done = self.moonlet("resume", run, "--accept-script", "--yes", "--limit", "steps=9")
        self.assertEqual(done.code, 0, done)
        fork = self.last()
        self.assertIn("this is a fork", done.err)
        self.assertEqual(fork["fork_of"], run)
        self.assertEqual(self.read("log"), "1\n2\n1\n3\n")  # from the first request on it is another conversation
        self.assertEqual(self.moonlet("runs", "--check").code, 0)

    def test_changed_instructions_are_another_conversation(self):
        script = self.shell_agent("echo 1", "echo 2")
        self.moonlet("run", script, "go", "--yes", "--limit", "steps=2")
        self.shell_agent("echo 1", "echo 2", more='instructions = "Something else."')
        done = self.moonlet("resume", "--yes", "--limit", "steps=9")
        self.assertEqual(done.code, 2, done)
        self.assertIn("instructions, tools or messages differ", done.err)


class Calls(cut.Cut):
    """Calls that have their results: what they did is not looked for again, and what they used counts."""

    SCRIPT = """
        local moon = require "moonlet"
        local inner = moon.agent { name = "inner", tools = {},
          model = moon.model.script { { text = "x", usage = { input_tokens = 1000, output_tokens = 1 } } } }
        local t = moon.tool { name = "t", description = "d", call = function()
          local began = moon.time() moon.sleep(0)
          return inner:run "q" .. inner:run(began > 0 and "r" or "s")
        end }
        return moon.agent { name = "a", tools = { t }, policy = { t = "allow" },
          model = moon.model.script { { tool_calls = { { name = "t" } } }, { tool_calls = { { name = "t" } } }, "the end" } }
    """

    def test_lines_that_a_call_logs(self):
        script = self.file("f.lua", self.SCRIPT.replace("local began", 'moon.log.info("called") local began'))

        def both(n, journal):
            lines = [e["body"]["text"] for e in self.shown(self.newest(*journal), "log", journal=journal)]
            self.assertEqual(lines, ["called", "called"], n)

        self.resumed_everywhere(script, check=both)

    def test_values_and_runs_of_a_call(self):
        usage = self.moonlet("run", self.file("f.lua", self.SCRIPT), "go", "--output", "json", "--journal", "off").json()["usage"]
        self.assertEqual((usage["steps"], usage["input_tokens"]), (7, 4000))
        script = self.file("f.lua", self.SCRIPT)

        def same(n, journal):
            ended = self.shown(self.newest(*journal), "run.finished", journal=journal)
            self.assertEqual([e["body"]["usage"] for e in ended if not e["path"]], [usage], n)

        self.resumed_everywhere(script, check=same)


class Signals(Kept):
    def wait_for(self, name):
        deadline = time.monotonic() + harness.PATIENCE
        path = os.path.join(self.work, name)
        while not os.path.exists(path):
            self.assertLess(time.monotonic(), deadline, f"{name} never came")
            time.sleep(0.01)

    def killed(self, command, *before):
        """A run that was killed while this command ran."""
        script = self.shell_agent(*before, f"{command}; touch here; sleep 600")
        process = self.start("run", script, "go", "--yes")
        self.wait_for("here")
        # The tool's process group is its own: it is ended too, as a machine's reset would.
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        for child in children:
            try:
                os.killpg(int(child), signal.SIGKILL)
            except ProcessLookupError:
                pass
        run = self.last()
        self.assertEqual((run["state"], run["resumable"]), ("died", True))
        return run["run"]

    def test_ctrl_c_and_on(self):
        script = self.shell_agent("echo 1 >> log; echo one", "touch here; sleep 600", "echo 3 >> log; echo three")
        process = self.start("run", script, "go", "--yes")
        self.wait_for("here")
        process.send_signal(signal.SIGINT)
        done = self.finish(process)
        self.assertEqual(done.code, 130, done)
        self.assertEqual(self.last()["state"], "interrupted")
        done = self.moonlet("resume", "--yes")
        self.assertEqual(done.code, 0, done)
        self.assertIn("three", done.out)
        self.assertEqual(self.read("log"), "1\n3\n")  # the call that was ended has its result, and is not made again

    def test_a_call_of_unknown_outcome_waits_by_default(self):
        run = self.killed("echo x >> log", "echo 1 >> log")
        done = self.moonlet("resume", "--yes")
        self.assertEqual(done.code, 4, done)
        self.assertEqual(self.read("log"), "1\nx\n")
        asked = self.events(run, "approval.asked")
        self.assertEqual([(e["body"]["call"], e["body"].get("unknown")) for e in asked], [("c2", True)])
        self.moonlet("deny", run)
        done = self.moonlet("resume", "--yes")
        self.assertEqual(done.code, 0, done)
        self.assertIn("outcome is unknown", done.out)
        self.assertEqual(self.read("log"), "1\nx\n")

    def test_a_call_of_unknown_outcome_can_be_told(self):
        self.killed("echo x >> log")
        done = self.moonlet("resume", "--yes", "--unknown", "tell")
        self.assertEqual(done.code, 0, done)
        self.assertIn("outcome is unknown", done.out)
        self.assertEqual(self.read("log"), "x\n")

    def test_a_call_of_unknown_outcome_can_be_retried_or_fail(self):
        run = self.killed("echo x >> log; [ -e here ] && exit")
        done = self.moonlet("resume", "--yes", "--unknown", "fail")
        self.assertEqual(done.code, 4, done)
        self.assertEqual(self.read("log"), "x\n")
        self.assertEqual(self.moonlet("resume", run, "--yes", "--unknown", "retry").code, 0)
        self.assertEqual(self.read("log"), "x\nx\n")

    def test_reading_calls_are_made_again(self):
        script = self.agent("model = script({ { name = 'slow', arguments = {} } })", tools="slow", body=COUNTING + """
            local slow = moon.tool { name = "slow", description = "waits", params = {}, effects = { read_only = true },
              call = function() return assert(moon.agent { name = "inner", tools = { "shell" },
                model = script { sh "echo in >> log; echo inner" , sh "touch here; sleep 600" } }:run "x") end }
        """)
        process = self.start("run", script, "go", "--yes")
        self.wait_for("here")
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(process).code, 130)
        done = self.moonlet("resume", "--yes")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.read("log"), "in\n")

    def test_two_processes_do_not_drive_one_run(self):
        script = self.shell_agent("touch here; while [ ! -e go ]; do sleep 0.05; done", "echo 2 >> log")
        process = self.start("run", script, "go", "--yes")
        self.wait_for("here")
        run = self.last()
        self.assertEqual((run["state"], run["resumable"]), ("running", False))
        done = self.moonlet("resume", run["run"], "--yes")
        self.assertEqual(done.code, 1, done)
        self.assertIn("driven by another process", done.err)
        pathlib.Path(self.work, "go").touch()
        self.assertEqual(self.finish(process).code, 0)
        self.assertEqual(self.read("log"), "2\n")

    def test_a_driver_that_was_overtaken_stops(self):
        script = self.shell_agent("touch here; while [ ! -e go ]; do sleep 0.05; done", "echo 2 >> log")
        process = self.start("run", script, "go", "--yes")
        self.wait_for("here")
        with sqlite3.connect(self.journal) as db:  # as somebody on another machine would
            run, seq = db.execute("SELECT run, seq FROM heads").fetchone()
            journal_rows.add(db, run, seq + 1, [{"type": 14, "time_us": 0, "length": 2, "hash": bytes(32), "path": "", "key": "", "body": b"{}"}])
            db.execute("UPDATE heads SET seq = seq + 1")
        pathlib.Path(self.work, "go").touch()
        done = self.finish(process)
        self.assertEqual(done.code, 1, done)
        self.assertIn("taken this run over", done.err)
        self.assertEqual(self.read("log"), "")


class Approval(Kept):
    def waiting(self, *commands):
        done = self.moonlet("run", self.shell_agent(*commands), "go")
        self.assertEqual(done.code, 4, done)
        run = self.last()
        self.assertEqual(run["state"], "waiting")
        self.assertIn(run["run"], done.err)
        return run["run"]

    def test_a_yes_holds_for_one_call(self):
        run = self.waiting("echo 1 >> log", "echo 2 >> log")
        self.assertEqual(self.read("log"), "")
        self.assertEqual(self.moonlet("resume", run).code, 4)
        self.assertEqual(self.moonlet("approve", run).code, 0)
        self.assertEqual(self.moonlet("resume", run).code, 4)
        self.assertEqual(self.read("log"), "1\n")
        self.assertEqual(self.moonlet("approve", run, "c2").code, 0)
        self.assertEqual(self.moonlet("resume", run).code, 0)
        self.assertEqual(self.read("log"), "1\n2\n")
        given = self.events(run, "approval.given")
        self.assertEqual([(e["body"]["call"], e["body"]["allow"]) for e in given], [("c1", True), ("c2", True)])

    def test_a_no_is_told_to_the_model_with_its_reason(self):
        run = self.waiting("echo 1 >> log")
        self.moonlet("deny", run, "--why", "not on a Friday")
        done = self.moonlet("resume", run)
        self.assertEqual(done.code, 0, done)
        self.assertIn("not on a Friday", done.out)
        self.assertEqual(self.read("log"), "")

    def test_several_at_once_in_parallel_and_nested_runs_partly_decided(self):
        script = self.agent("""model = moon.model.script(function(r)
              local out = {} for _, m in ipairs(r.messages) do if m.role == "tool" then out[#out + 1] = m.content end end
              if #out > 0 then return table.concat(out, "+") end
              return { tool_calls = { { name = "one", arguments = {} }, { name = "two", arguments = {} } } } end)""",
            tools="one, two", body=COUNTING + """
            local function tool(name, ...)
              local calls = {}
              for i, c in ipairs { ... } do calls[i] = sh(c) end
              local agent = moon.agent { name = name .. "r", tools = { "shell" }, model = moon.model.script(function(r)
                if r.messages[#r.messages].role == "tool" then return name .. " ended" end
                return { tool_calls = calls } end) }
              return moon.tool { name = name, description = "runs an agent", params = {}, effects = { read_only = true },
                call = function() return agent:run "x" end }
            end
            local one, two = tool("one", "echo a1 >> log", "echo a2 >> log"), tool("two", "echo b1 >> log")
            """)
        done = self.moonlet("run", script, "go")
        self.assertEqual(done.code, 4, done)
        self.assertIn("3 calls wait", done.err)
        run = self.last()["run"]
        self.assertEqual(sorted(e["body"]["call"] for e in self.events(run, "approval.asked")),
                         ["c1.1.c1", "c1.1.c2", "c2.1.c1"])
        self.moonlet("approve", run, "c2.1.c1")
        self.moonlet("deny", run, "c1.1.c2")
        self.assertEqual(self.moonlet("resume", run).code, 4)
        self.assertEqual(self.read("log"), "b1\n")
        self.moonlet("approve", run)
        done = self.moonlet("resume", run)
        self.assertEqual((done.code, done.out), (0, "one ended+two ended\n"), done)
        self.assertEqual(self.read("log"), "b1\na1\n")

    def test_a_question_is_asked_once_in_the_journal(self):
        run = self.waiting("echo 1 >> log")
        for _ in range(3):
            self.moonlet("resume", run)
        self.assertEqual(len(self.events(run, "approval.asked")), 1)


class Fork(Kept):
    def conversation(self):
        """A run whose agent answers each message of the user with all it has heard."""
        script = self.agent("""model = moon.model.script(function(r)
            local heard = {}
            for _, m in ipairs(r.messages) do if m.role == "user" then heard[#heard + 1] = m.content end end
            local last = r.messages[#r.messages]
            if last.role == "user" then return { text = "let me see", tool_calls = { sh("echo " .. #heard .. " >> log") } } end
            return table.concat(heard, ", ") end)""", tools='"shell"', body=COUNTING)
        done = self.moonlet("run", script, "one", "--yes")
        self.assertEqual((done.code, done.out), (0, "one\n"), done)
        return self.last()["run"]

    def test_a_conversation_goes_on_after_its_end(self):
        run = self.conversation()
        done = self.moonlet("fork", run, "--input", "two", "--yes")
        self.assertEqual((done.code, done.out), (0, "one, two\n"), done)
        second = self.last()
        self.assertEqual((second["fork_of"], second["state"]), (run, "done"))
        done = self.moonlet("fork", second["run"], "-p", "-", "--yes", input="three")
        self.assertEqual((done.code, done.out), (0, "one, two, three\n"), done)
        self.assertEqual(self.read("log"), "1\n2\n3\n")
        events = self.events(self.last()["run"])
        self.assertEqual([e["seq"] for e in events], list(range(1, len(events) + 1)))
        self.assertEqual(self.moonlet("runs", "--check").code, 0)
        self.assertEqual(self.moonlet("show", run).out.count("ended: done"), 1)

    def test_a_fork_from_the_middle_takes_another_way(self):
        run = self.conversation()
        answer = self.events(run, "model.response")[0]["seq"]
        other = self.agent("model = 'x'", name="other")
        done = self.moonlet("fork", run, "--at", str(answer - 1), "--yes", "--model",
                            self.file("m.lua", 'return require "moonlet".model.script { "another answer" }'))
        self.assertEqual((done.code, done.out), (0, "another answer\n"), done)
        self.assertEqual(self.read("log"), "1\n")
        for at in ("0", "x", "-1", "99999"):
            self.assertEqual(self.moonlet("fork", run, "--at", at).code, 2, at)

    def test_limits_count_from_the_fork_on(self):
        run = self.conversation()
        done = self.moonlet("fork", run, "--input", "two", "--yes", "--limit", "steps=2")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.last()["steps"], 2)

    def test_run_continue_takes_the_newest_of_this_directory(self):
        self.assertEqual(self.moonlet("run", "--continue", "x").code, 2)
        self.conversation()
        elsewhere = os.path.join(self.dir, "elsewhere")
        os.mkdir(elsewhere)
        self.moonlet("run", self.file("f.lua", "return function(input) return input end"), "x", cwd=elsewhere)
        done = self.moonlet("run", "--continue", "two", "--yes")
        self.assertEqual((done.code, done.out), (0, "one, two\n"), done)
        done = self.moonlet("run", "--continue", "-", "--yes", input="three")
        self.assertEqual((done.code, done.out), (0, "one, two, three\n"), done)

    def test_a_function_takes_no_message(self):
        script = self.file("f.lua", "return function(input) return input end")
        self.moonlet("run", script, "x")
        done = self.moonlet("fork", self.last()["run"], "--input", "more")
        self.assertEqual(done.code, 2, done)

    def test_a_replay_shows_the_same_and_does_nothing(self):
        run = self.conversation()
        before = self.events(run)
        done = self.moonlet("replay", run, "--output", "stream-json")
        self.assertEqual(done.code, 0, done)
        shown = [(e["type"], e["path"]) for e in done.events() if e["seq"]]
        self.assertEqual(shown, [(e["type"], e["path"]) for e in before])
        self.assertEqual(done.events("run.finished")[0]["body"]["text"], "one")
        self.assertEqual(self.read("log"), "1\n")
        self.assertEqual(len(self.runs()), 1)

    def test_a_replay_with_live_tools_calls_them(self):
        run = self.conversation()
        self.assertEqual(self.moonlet("replay", run, "--live-tools").code, 4)
        done = self.moonlet("replay", run, "--live-tools", "--yes")
        self.assertEqual((done.code, done.out), (0, "one\n"), done)
        self.assertEqual(self.read("log"), "1\n1\n")

    def test_a_replay_of_a_changed_script_says_so(self):
        script = self.shell_agent("echo 1", "echo 2")
        self.moonlet("run", script, "go", "--yes")
        self.shell_agent("echo 1", "echo 2", more='instructions = "Something else."')
        done = self.moonlet("replay", self.last()["run"])
        self.assertEqual(done.code, 2, done)


class Keeping(Kept):
    """Ending, exporting, importing and removing runs."""

    def test_a_waiting_run_can_be_cancelled_and_resumed(self):
        self.assertEqual(self.moonlet("run", self.shell_agent("echo 1 >> log"), "go").code, 4)
        run = self.last()["run"]
        self.assertEqual(self.moonlet("cancel", run).code, 0)
        self.assertEqual(self.last()["state"], "interrupted")
        self.assertEqual(self.moonlet("cancel", run).code, 2)
        self.assertEqual(self.moonlet("resume", run, "--yes").code, 0)
        self.assertEqual(self.read("log"), "1\n")
        self.assertEqual(self.moonlet("runs", "--check").code, 0)

    def test_a_run_of_another_process_can_be_cancelled(self):
        process = self.start("run", self.shell_agent("touch here; sleep 600"), "go", "--yes")
        deadline = time.monotonic() + harness.PATIENCE
        while not os.path.exists(os.path.join(self.work, "here")) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertIn("told to end", self.moonlet("cancel", self.last()["run"]).out)
        done = self.finish(process)
        self.assertEqual(done.code, 130, done)
        self.assertIn("moonlet cancel", done.err)

    def test_export_and_import(self):
        self.moonlet("run", self.shell_agent("head -c 20000 /dev/zero | tr '\\0' x", "echo 2"), "go", "--yes", "--limit", "steps=2")
        run = self.last()["run"]
        out = self.moonlet("export", run)
        self.assertEqual(out.code, 0, out)
        lines = out.raw_out.splitlines()
        self.assertEqual(json.loads(lines[0])["moonlet_journal"], 1)
        done = self.moonlet("import", "-", "--journal", "other.db", input=out.raw_out)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.moonlet("export", run, "--journal", "other.db").raw_out, out.raw_out)
        self.assertEqual(self.moonlet("runs", "--check", "--journal", "other.db").code, 0)
        done = self.moonlet("resume", run, "--yes", "--limit", "steps=9", "--journal", "other.db")
        self.assertEqual(done.code, 0, done)
        self.assertIn("already", self.moonlet("import", "-", "--journal", "other.db", input=out.raw_out).err)
        for label, bad in (
                ("changed", out.raw_out.replace(b"exit 0", b"exit 1")),
                ("a line is missing", b"\n".join(lines[:3] + lines[4:])),
                ("no head", b"\n".join(lines[1:])),
                ("newer", out.raw_out.replace(b'"moonlet_journal":1', b'"moonlet_journal":2')),
                ("no JSON", out.raw_out + b"{"),
                ("empty", b""),
                ("head alone", lines[0])):
            with self.subTest(label):
                done = self.moonlet("import", "-", "--journal", "bad.db", input=bad)
                self.assertEqual(done.code, 2, done)
                self.assertEqual(self.runs("--journal", "bad.db"), [])

    def test_old_runs_are_removed_and_forks_keep_what_they_share(self):
        script = self.shell_agent("echo 1")
        self.moonlet("run", script, "old", "--yes")
        self.moonlet("run", script, "base", "--yes")
        base = self.last()["run"]
        self.moonlet("run", self.shell_agent("echo 1", name="w"), "waits")
        self.assertEqual(self.moonlet("gc").out.split()[0], "0")
        self.assertEqual(self.moonlet("gc", "--keep", "0s", "--dry-run").out.split()[0], "2")
        self.moonlet("fork", base, "--yes")
        young = self.last()["run"]
        with sqlite3.connect(self.journal) as db:
            db.execute("UPDATE runs SET updated_us = updated_us - 1000000 * 86400 * 2 WHERE run != ?", (young,))
        done = self.moonlet("gc", "--keep", "1d")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.out.split()[0], "1")
        self.assertIn("1 stay", done.out)
        self.assertEqual({r["run"] for r in self.runs()} & {base, young}, {base, young})
        self.assertEqual(self.moonlet("gc", "--keep", "0s", "--waiting").code, 0)
        self.assertEqual(self.runs(), [])
        with sqlite3.connect(self.journal) as db:
            for table in ("records", "blobs", "uses", "inbox", "timers"):
                self.assertEqual(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0], 0, table)
        self.assertEqual(self.moonlet("gc", "--keep", "soon").code, 2)


class Outside(Kept):
    """Time, environment and signals."""

    def function(self, body):
        return self.file("f.lua", 'local moon = require "moonlet"\nreturn function(input, ctx)\n' + body + "\nend\n")

    def test_time_and_environment_are_what_they_were(self):
        script = self.function("""
            local t, e, none = moon.time(), moon.env("COLOUR"), moon.env("NOT_SET")
            local r = moon.wait("go")
            return { t = t, later = moon.time() >= t, e = e, none = none == nil, r = r }""")
        done = self.moonlet("run", script, "x", "--park", env=dict(self.env, COLOUR="red"))
        self.assertEqual(done.code, 4, done)
        run = self.last()
        self.assertEqual((run["state"], run["resumable"]), ("waiting", True))
        first = [e["body"]["value"] for e in self.events(run["run"], "value.recorded")][:2]
        self.moonlet("signal", run["run"], "go", '{"n":[1,2]}')
        done = self.moonlet("resume", run["run"], env=dict(self.env, COLOUR="blue"))
        self.assertEqual(done.code, 0, done)
        made = json.loads(done.out)
        self.assertEqual([made["t"], made["e"]], first)
        self.assertEqual((made["e"], made["later"], made["none"], made["r"]), ("red", True, True, {"n": [1, 2]}))

    def test_secrets_are_not_for_scripts(self):
        done = self.moonlet("run", self.function('return moon.env("OPENAI_API_KEY")'), "x")
        self.assertEqual(done.code, 1, done)
        self.assertIn("looks like a secret", done.err)

    def test_a_sleep_ends_when_it_was_to_end(self):
        script = self.function("""
            moon.sleep(0.2)
            local a = moon.time()
            moon.sleep(86400 * 3)
            return "never" """)
        done = self.moonlet("run", script, "x", "--park")  # parks in the first sleep
        self.assertEqual(done.code, 4, done)
        run = self.last()["run"]
        with sqlite3.connect(self.journal) as db:
            due = dict(db.execute("SELECT key, due_us FROM timers"))
        self.assertEqual(list(due), ["t1"])
        deadline = time.monotonic() + harness.PATIENCE
        while time.time() * 1e6 < due["t1"] and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.moonlet("resume", run, "--park").code, 4)
        with sqlite3.connect(self.journal) as db:
            due = dict(db.execute("SELECT key, due_us FROM timers"))
        self.assertEqual(list(due), ["t3"])
        self.assertAlmostEqual(due["t3"] / 1e6, time.time() + 86400 * 3, delta=600)
        before = due["t3"]
        self.assertEqual(self.moonlet("resume", run, "--park").code, 4)
        with sqlite3.connect(self.journal) as db:
            self.assertEqual(dict(db.execute("SELECT key, due_us FROM timers")), {"t3": before})

    def test_a_wait_times_out(self):
        done = self.moonlet("run", self.function("""
            local value, why = moon.wait("never", { timeout = 0.05 })
            return tostring(value) .. " " .. why"""), "x")
        self.assertEqual((done.code, done.out), (0, "nil timeout\n"), done)

    def test_a_signal_reaches_a_run_that_goes_on_and_one_that_came_before(self):
        script = self.function("""
            moon.log.warn("waiting")
            local a, b = moon.wait("a"), moon.wait("b")
            return a .. b""")
        process = self.start("run", script, "x", "--output", "stream-json")
        while b'"waiting"' not in process.stdout.readline():
            pass
        run = self.last()["run"]
        self.moonlet("signal", run, "b", '"second"')
        self.moonlet("signal", run, "a", '"first "')
        done = self.finish(process)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.events("run.finished")[0]["body"]["text"], "first second")

    def test_a_signal_that_is_no_json_is_refused(self):
        self.moonlet("run", self.function('moon.wait("a")'), "x", "--park")
        done = self.moonlet("signal", self.last()["run"], "a", "{")
        self.assertEqual(done.code, 2, done)


if __name__ == "__main__":
    unittest.main()
