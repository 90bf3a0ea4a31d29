# SPDX-License-Identifier: MIT
"""One budget for a tree of runs: an agent whose message calls fifty tools at once, each of which runs another agent."""
import json
import threading
import unittest

import harness
import mock_model

TREE = """
local moon = require "moonlet"
local kid = moon.agent { name = "kid", tools = {}, max_output_tokens = 95, %s }
local t = moon.tool { name = "t", description = "t", params = { n = "integer" }, effects = { read_only = true },
  call = function(args) local text, err = kid:run("kid " .. args.n) return text or "no: " .. err.stop end }
return moon.agent { name = "root", tools = { t }, parallel = 50, model = moon.model.script(function(r)
  local last = r.messages[#r.messages]
  if last.role == "user" then
    local calls = {}
    for n = 1, 50 do calls[n] = { name = "t", arguments = { n = n } } end
    return { tool_calls = calls }
  end
  local count = {}
  for _, m in ipairs(r.messages) do if m.role == "tool" then count[m.content] = (count[m.content] or 0) + 1 end end
  return moon.json.encode(count)
end) }
"""
SCRIPTED = 'model = moon.model.script(function() return { text = "done", usage = { input_tokens = 60, output_tokens = 40 } } end)'


class Budget(harness.Case):
    def tree(self, kid=SCRIPTED):
        return self.file("tree.lua", TREE % kid)

    def used(self, done):
        return sum(done.json()["usage"][k] for k in ("input_tokens", "output_tokens"))

    def results(self, *args):
        """What the tools said, by word, of a run that may have been stopped by its limit."""
        run = json.loads(self.moonlet("runs", "--json", *args).out)[0]["run"]
        events = [json.loads(line) for line in self.moonlet("show", run, "--events", *args).out.splitlines()]
        texts = [e["body"]["text"] for e in events if e["type"] == "tool.result"]
        return {text: texts.count(text) for text in texts}

    def test_fifty_runs_side_by_side_spend_one_budget(self):
        done = self.moonlet("run", self.tree(), "go", "--json", "--limit", "tokens=1000")
        self.assertEqual(done.code, 3, done)  # the root finds nothing left for its own last request
        self.assertEqual(self.used(done), 1000, done)
        self.assertEqual(self.results(), {"done": 10, "no: limit_tokens": 40})

    def test_with_enough_all_of_them_go_on(self):
        done = self.moonlet("run", self.tree(), "go", "--json", "--limit", "tokens=5001")
        self.assertEqual((done.code, self.used(done)), (0, 5000), done)
        self.assertEqual(json.loads(done.json()["text"]), {"done": 50})

    def test_a_batch_of_a_script_spends_one_budget(self):
        script = self.file("batch.lua", """local moon = require "moonlet"
            local kid = moon.agent { name = "kid", tools = {}, max_output_tokens = 95, %s }
            return function()
              local list = {}
              for n = 1, 50 do list[n] = "kid " .. n end
              return #assert(kid:batch(list, { limit = 50, settle = true }))
            end""" % SCRIPTED)
        done = self.moonlet("run", script, "go", "--json", "--limit", "tokens=1000")
        self.assertEqual((done.code, self.used(done)), (0, 1000), done)
        self.assertEqual(done.json()["usage"]["steps"], 10)

    def test_steps_are_counted_exactly(self):
        done = self.moonlet("run", self.tree(), "go", "--json", "--limit", "steps=12")
        self.assertEqual((done.code, done.json()["usage"]["steps"]), (3, 12), done)
        self.assertEqual(self.results(), {"done": 11, "no: limit_steps": 39})

    def test_a_resumed_tree_pays_for_what_it_used_before(self):
        self.moonlet("run", self.tree(), "go", "--limit", "steps=6")  # five kids
        done = self.moonlet("resume", "--json", "--limit", "steps=99", "--limit", "tokens=500")
        self.assertEqual((done.code, self.used(done)), (3, 500), done)
        done = self.moonlet("resume", "--json", "--limit", "tokens=501", "--limit", "steps=99")
        self.assertEqual((done.code, self.used(done)), (0, 500), done)

    def test_requests_to_a_server_are_held_back(self):
        """A server that answers only when ten requests are there; were more let through it would see them."""
        lock, gate, most = threading.Lock(), threading.Barrier(10, timeout=harness.PATIENCE), [0, 0]  # there now, and at most

        def answer(request):
            with lock:
                most[0] += 1
                most[1] = max(most[1], most[0])
            gate.wait()
            with lock:
                most[0] -= 1
            return mock_model.text("done", usage=(60, 40))
        with mock_model.MockModel(answer) as model:
            script = self.tree('model = "custom/mock"')
            done = self.moonlet("run", script, "go", "--json", "--limit", "tokens=1000", env=self.environment(model))
        self.assertEqual((done.code, self.used(done)), (3, 1000), done)
        self.assertEqual(most[1], 10)


if __name__ == "__main__":
    harness.main()
