# SPDX-License-Identifier: MIT
"""Handoffs on the command line: shown, kept, resumed, forked, and the next message of a conversation."""

import cut
import harness

# Two agents that hand a conversation to and fro. Each scripted answer tells who has answered how often.
TWO = """
local moon = require "moonlet"
local function to(name, message) return { name = "transfer_to_" .. name, arguments = { message = message } } end
local look = moon.tool { name = "look", description = "looks", effects = { read_only = true }, call = function() return "seen" end }
local writer
local triage = moon.agent { name = "triage", instructions = "Sort.", tools = { look }, FIELDS
  handoffs = { { agent = function() return writer end, filter = function(m) m[#m + 1] = { role = "user", content = "filtered" } return m end } },
  model = moon.model.script(function(r)
    if r.step == 1 then return { tool_calls = { { name = "look" }, to("writer", "first") } } end
    return { text = "again", tool_calls = { to("writer", "second"), { name = "look" } } }
  end) }
writer = moon.agent { name = "writer", instructions = "Write.", tools = { look }, handoffs = { { agent = triage, filter = "last" } },
  model = moon.model.script(function(r)
    if r.step == 1 then return { tool_calls = { { name = "look" } } } end
    if r.step == 2 then return { tool_calls = { to("triage", "unclear") } } end
    local out = {}
    for i, m in ipairs(r.messages) do out[i] = m.role .. "=" .. m.content end
    return r.agent .. r.step .. " " .. table.concat(out, "|")
  end) }
return triage
"""


class Handoff(cut.Cut):
    def script(self, fields=""):
        return self.file("two.lua", TWO.replace("FIELDS", fields))

    def test_it_is_shown(self):
        done = self.moonlet("run", self.script(), "go", "--verbose")
        self.assertEqual(done.code, 0, done)
        self.assertIn("writer goes on in place of triage", done.err)
        shown = self.moonlet("show", self.newest()).out
        self.assertIn("handed over: triage to writer", shown)
        self.assertIn("handed over: writer to triage", shown)
        done = self.moonlet("run", self.script(), "go", "--output", "json")
        self.assertEqual(done.json()["agent"], "writer", done)

    def test_it_is_resumed_at_every_event(self):
        def once(n, journal):
            handed = self.shown(run_of["id"], "handoff", journal=journal)
            self.assertEqual([e["body"]["to"] for e in handed], ["writer", "triage", "writer"], n)
            calls = [e["body"]["call"] for e in self.shown(run_of["id"], "tool.result", journal=journal)]
            self.assertEqual(sorted(calls), ["c1", "c2", "c3", "c4", "c5", "c6"], n)

        run_of = {}
        original = self.newest
        self.newest = lambda *args: run_of.setdefault("id", original(*args))
        whole, _ = self.resumed_everywhere(self.script(), check=once)
        self.assertIn("writer3 ", whole.out)
        self.assertIn("[writer has handed this conversation over to you: unclear]", whole.out)

    def test_a_replay_goes_the_same_way(self):
        whole = self.moonlet("run", self.script(), "go")
        run = self.newest()
        for live in ((), ("--live-tools",)):
            done = self.moonlet("replay", run, *live)
            self.assertEqual((done.code, done.out), (0, whole.out), done)

    def test_a_filter_that_has_changed_is_another_conversation(self):
        script = self.script()
        self.assertEqual(self.moonlet("run", script, "go", "--limit", "steps=2").code, 3)
        self.file("two.lua", TWO.replace("FIELDS", "").replace('"filtered"', '"otherwise"'))
        done = self.moonlet("resume", "--limit", "steps=9")
        self.assertEqual(done.code, 2, done)
        self.assertIn("instructions, tools or messages differ", done.err)

    def test_a_circle_ends_and_can_go_on(self):
        script = self.script("limits = { handoffs = 2 },")
        done = self.moonlet("run", script, "go", "--output", "json")
        out = done.json()
        self.assertEqual((done.code, out["stop_reason"]), (3, "limit_handoffs"), done)
        self.assertIn("the limit of 2 handoffs is reached: writer → triage → writer", out["error"])
        self.file("two.lua", TWO.replace("FIELDS", ""))
        done = self.moonlet("resume", "--limit", "handoffs=3")
        self.assertEqual(done.code, 0, done)
        self.assertIn("writer3 ", done.out)

    def test_the_next_message_goes_to_who_answered_last(self):
        self.assertEqual(self.moonlet("run", self.script(), "go").code, 0)
        for n in range(4, 16):  # what was handed over before does not count
            done = self.moonlet("run", "--continue", f"message {n}")
            self.assertEqual(done.code, 0, done)
            self.assertTrue(done.out.startswith(f"writer{n} "), done)
            self.assertIn(f"user=message {n}", done.out)

    def test_a_recorded_child_tells_who_answered(self):
        script = self.file("parent.lua", TWO.replace("FIELDS", "").replace("return triage", """
            local child = moon.agent { name = "child", tools = {}, handoffs = { moon.agent { name = "inner", tools = {},
              output = { n = "integer" }, model = moon.model.script { '{"n":5}' } } }, model = moon.model.script { { tool_calls = { to("inner") } } } }
            return function() local answer, _, who = child:run "x" return answer.n .. who .. moon.time():sub(1, 0) end
        """).replace("moon.time():sub(1, 0)", 'tostring(moon.agent { name = "e", tools = {}, model = moon.model.script { "." } }:run "y")'))
        whole, _ = self.resumed_everywhere(script)
        self.assertEqual(whole.out, "5inner.\n")

    def test_a_model_that_cannot_be_had_is_told_when_it_is_needed(self):
        script = self.file("x.lua", """
            local moon = require "moonlet"
            return moon.agent { name = "a", tools = {}, handoffs = { moon.agent { name = "b", model = "openai/gpt-x" } },
              model = moon.model.script { { tool_calls = { { name = "transfer_to_b", arguments = {} } } } } }
        """)
        done = self.moonlet("run", script, "go", "--output", "json")
        self.assertEqual((done.code, done.json()["stop_reason"]), (2, "configuration"), done)
        self.assertIn("OPENAI_API_KEY", done.json()["error"])


if __name__ == "__main__":
    harness.main()
