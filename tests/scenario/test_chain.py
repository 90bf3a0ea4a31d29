# SPDX-License-Identifier: MIT
"""Chains as a user meets them: run, drawn, resumed, refused."""
import json
import os
import pathlib
import unittest
import xml.dom.minidom

import harness

TEAM = pathlib.Path(__file__).resolve().with_name("team.lua").read_text()
MODEL = """
local moon = require "moonlet"
local reviews = 0
return moon.model.script(function(r)
  if r.agent == "scout" then return '{"files":["a.c","b.c"],"why":"there"}' end
  if r.agent == "reviewer" then
    reviews = reviews + 1
    return reviews < 3 and '{"verdict":"redo","why":"w"}' or '{"verdict":"ok","why":"w"}'
  end
  if r.agent == "writer" then return "a message" end
  if r.messages[#r.messages].role == "tool" then return "fixed" end
  return { tool_calls = { { name = "plan", arguments = { steps = { { text = "do", status = "done" } } } } } }
end)
"""


class Chains(harness.Case):
    def setUp(self):
        super().setUp()
        self.team = self.file("team.lua", TEAM)
        self.model = self.file("model.lua", MODEL)

    def run_team(self, *more):
        return self.moonlet("run", self.team, "go", "-m", self.model, *more)

    def test_the_sample_runs_unchanged(self):
        done = self.run_team("--output", "json")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.json()["output"], {"summary": {"verdict": "ok", "why": "w"}})
        # scout, two fixers, reviewer and writer, then two rounds of fixer and reviewer
        self.assertEqual(done.json()["usage"]["steps"], 1 + 2 * 2 + 2 + 2 * 3, done)

    def test_events_have_the_path_of_their_branch(self):
        done = self.run_team("--output", "stream-json")
        starts = [(e["path"], e["body"]["name"]) for e in done.events("run.created")]
        self.assertEqual(starts[0], ("", "team"))
        self.assertEqual(starts[1], ("1", "scout"))
        self.assertEqual({s for s in starts if s[1] == "fixer"}, {("2", "fixer"), ("3", "fixer"), ("6", "fixer"), ("8", "fixer")})
        self.assertIn(("4", "retry"), starts)
        self.assertIn(("4.1", "writer"), starts)

    def test_a_chain_goes_on_after_a_limit(self):
        whole = self.run_team("--journal", "off")
        for steps in (1, 4, 7, 9):
            self.assertEqual(self.run_team("--limit", f"steps={steps}").code, 3)
            done = self.moonlet("resume", "--limit", "steps=100")
            self.assertEqual((done.code, done.out), (0, whole.out), done)

    def test_scripts_that_are_steps_are_recorded(self):
        self.file("lib/words.lua", "return { last = function(t) return t:match('%S+$') end }")
        self.file("inner.lua", "local w = require 'lib.words' return function(v) return w.last(v) end")
        outer = self.file("outer.lua", 'local moon = require "moonlet"\nreturn moon.chain.seq { "inner.lua", '
                          'function(v) moon.wait("go") return v .. "!" end }')
        self.assertEqual(self.moonlet("run", outer, "one two", "--park").code, 4)
        for name in ("inner.lua", "outer.lua", "lib/words.lua"):
            os.unlink(os.path.join(self.work, name))
        run = json.loads(self.moonlet("runs", "--json").out)[0]["run"]
        self.assertEqual(self.moonlet("signal", run, "go", "1").code, 0)
        done = self.moonlet("resume", run)
        self.assertEqual((done.code, done.out.strip()), (0, "two!"), done)

    def test_approvals_in_branches_are_decided_one_by_one(self):
        script = self.file("ask.lua", """
local moon = require "moonlet"
local write = moon.tool "file.write"
return moon.chain.seq {
  function() return { "a", "b" } end,
  moon.chain.each(moon.chain.seq { function(n) return { path = n, content = n } end, write, function(r) return r ~= nil end }, { settle = true }),
  function(list) return { list[1].ok, list[2].ok } end,
}""")
        self.assertEqual(self.moonlet("run", script, "x").code, 4)
        run = json.loads(self.moonlet("runs", "--json").out)[0]["run"]
        asked = [json.loads(line) for line in self.moonlet("show", run, "--events").out.splitlines()]
        calls = [e["body"]["call"] for e in asked if e["type"] == "approval.asked"]
        self.assertEqual(len(calls), 2)
        self.assertEqual(self.moonlet("approve", run, calls[0]).code, 0)
        self.assertEqual(self.moonlet("resume", run).code, 4)
        self.assertEqual(self.moonlet("deny", run, calls[1]).code, 0)
        done = self.moonlet("resume", run)
        self.assertEqual((done.code, done.out.strip()), (0, "[true,false]"), done)
        self.assertEqual([os.path.exists(os.path.join(self.work, n)) for n in "ab"], [True, False])

    def test_an_error_says_where_in_the_chain_it_was(self):
        script = self.file("bad.lua", """local moon = require "moonlet"
return moon.chain.seq {
  function() return { 1, 2, 3 } end,
  moon.chain.each(function(n) if n == 2 then error("no twos") end return n end),
}""")
        done = self.moonlet("run", script, "x")
        self.assertEqual(done.code, 1)
        self.assertRegex(done.err, r"seq\[2\] > each\[2\]: .*bad\.lua:4: no twos")

    def test_what_cannot_be_a_chain(self):
        for body, why in (
            ("moon.chain.seq { missing }", "bad.lua:2: chain.seq: there are no steps"),
            ("moon.chain.seq { 'other.lua' }", "no script"),
            ("moon.chain.each(function() end, { limits = 3 })", 'unknown field "limits" (did you mean "limit"?)'),
        ):
            done = self.moonlet("run", self.file("bad.lua", f"local moon = require 'moonlet'\nreturn {body}"), "x")
            self.assertEqual(done.code, 2, done)
            self.assertIn(why, done.err)


class Graph(harness.Case):
    def setUp(self):
        super().setUp()
        self.team = self.file("team.lua", TEAM)

    def test_mermaid(self):
        done = self.moonlet("graph", self.team)
        self.assertEqual(done.code, 0, done)
        lines = [line.strip() for line in done.out.splitlines()]
        self.assertEqual(lines[0], "flowchart TD")
        self.assertEqual(sum(line.startswith("subgraph") for line in lines), lines.count("end"))
        self.assertIn('n4("agent fixer<br/>file, shell, git")', lines)
        self.assertIn("n2 --> n4", lines)

    def test_dot_has_every_node_that_an_edge_names(self):
        done = self.moonlet("graph", self.team, "--format", "dot")
        nodes = {line.split()[0] for line in done.out.splitlines() if line.strip().startswith("n") and "->" not in line and "label" in line}
        edges = [line.strip().rstrip(";").split(" [")[0].split(" -> ") for line in done.out.splitlines() if "->" in line]
        self.assertGreater(len(edges), 8)
        for edge in edges:
            self.assertLessEqual(set(edge), nodes)

    def test_svg_into_a_file(self):
        out = os.path.join(self.work, "team.svg")
        done = self.moonlet("graph", self.team, "-o", out)
        self.assertEqual((done.code, done.out), (0, ""), done)
        root = xml.dom.minidom.parse(out).documentElement
        texts = [t.firstChild.data for t in root.getElementsByTagName("text")]
        for word in ("agent scout", "each (over files, limit 4)", "redo", "function"):
            self.assertIn(word, texts)

    def test_json_is_what_describe_gives(self):
        tree = json.loads(self.moonlet("graph", self.team, "--format", "json").out)
        self.assertEqual([s["kind"] for s in tree["steps"]], ["agent", "each", "all", "route", "function"])
        self.assertEqual(tree["steps"][0]["output"]["required"], ["files", "why"])

    def test_agents_behind_tools(self):
        script = self.file("lead.lua", """local moon = require "moonlet"
local worker = moon.agent { name = "worker <&>", tools = {} }
return moon.agent { name = "lead", tools = { moon.tool "search", worker:as_tool { name = "worker" } } }""")
        drawn = self.moonlet("graph", script).out
        self.assertIn("n1 -.->|\"calls\"| n2", drawn)
        self.assertIn("search, worker", drawn)
        xml.dom.minidom.parseString(self.moonlet("graph", script, "-f", "svg").raw_out)

    def test_agents_that_hand_over_to_each_other(self):
        script = self.file("desk.lua", """local moon = require "moonlet"
local writer = moon.agent { name = "writer", tools = {}, hooks = { on_event = print, before_tool = print } }
local triage
local coder = moon.agent { name = "coder", tools = {}, handoffs = { function() return triage end, { agent = writer, filter = "last" } } }
triage = moon.agent { name = "triage", tools = {}, handoffs = { coder, writer } }
return moon.chain.seq { triage, writer }""")
        triage, again = json.loads(self.moonlet("graph", script, "-f", "json").out)["steps"]
        coder, short = triage["handoffs"]
        self.assertEqual(coder["handoffs"][0], {"kind": "agent", "name": "triage", "again": True})
        self.assertEqual(coder["handoffs"][1]["hooks"], ["before_tool", "on_event"])
        self.assertEqual(short, {"kind": "agent", "name": "writer", "again": True})
        self.assertNotIn("again", again)
        self.assertNotIn("hooks", triage)
        lines = [line.strip() for line in self.moonlet("graph", script).out.splitlines()]
        for edge in ('n2 -.->|"hands off"| n3', 'n3 -.->|"hands off"| n2', 'n3 -.->|"hands off"| n4', 'n2 -.->|"hands off"| n4'):
            self.assertIn(edge, lines)
        self.assertEqual(sum("agent triage" in line for line in lines), 1)
        xml.dom.minidom.parseString(self.moonlet("graph", script, "-f", "svg").raw_out)

    def test_a_circle_of_many_agents_is_described_once_each(self):
        script = self.file("mesh.lua", """local moon = require "moonlet"
local agents = {}
for i = 1, 30 do
  local to = {}
  for k = 1, 30 do if k ~= i then to[#to + 1] = function() return agents[k] end end end
  agents[i] = moon.agent { name = "a" .. i, tools = {}, handoffs = to }
end
return agents[1]""")
        out = self.moonlet("graph", script)
        self.assertEqual((out.code, out.out.count('("agent ')), (0, 30), out)

    def test_a_function_that_gives_no_agent_is_named(self):
        script = self.file("none.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "a", tools = {}, handoffs = { function() end } }')
        done = self.moonlet("graph", script)
        self.assertEqual(done.code, 2, done)
        self.assertIn("handoffs[1]: the function gave a nil instead of an agent", done.err)

    def test_what_has_no_graph(self):
        model = self.file("model.lua", MODEL)
        for args, why in (((model,), "is a model"), (("none.lua",), "no script"), ((self.team, "-f", "png"), 'no format "png"'),
                          ((), "which script?")):
            done = self.moonlet("graph", *args)
            self.assertEqual(done.code, 2, done)
            self.assertIn(why, done.err)


if __name__ == "__main__":
    harness.main()
