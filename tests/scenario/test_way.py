# SPDX-License-Identifier: MIT
"""Ways of prompting as runs: an action is a call of the tool, with its policy, its approval and its place in the journal."""
import os
import pathlib

import harness
from mock_model import MockModel

SCRIPT = """
local moon = require "moonlet"
local agent = moon.agent { name = "writer", tools = {} }
return moon.way.react(agent, { tools = { "file" }, policy = %s })
"""
WRITE = 'It is missing.\nAction 1: file.write[{"path": "a.txt", "content": "hello"}]'
DONE = "It is there.\nAction 2: finish[written]"


class React(harness.Case):
    def script(self, policy="{}"):
        return self.file(".agents/react.lua", SCRIPT % policy)

    def run_it(self, model, script, *more):
        return self.moonlet("run", script, "write a.txt", "-m", "custom/mock", *more, env=self.environment(model))

    def written(self):
        path = pathlib.Path(self.work, "a.txt")
        return path.exists() and path.read_text()

    def test_an_action_is_asked_for_and_the_run_resumed(self):
        with MockModel([WRITE, DONE]) as model:
            done = self.run_it(model, self.script(), "--output", "json")
            self.assertEqual(done.code, 4, done)
            self.assertFalse(self.written())
            run = done.json()["run"]
            self.assertEqual(self.moonlet("approve", run).code, 0)
            done = self.moonlet("resume", run, env=self.environment(model))
            self.assertEqual((done.code, done.out.strip()), (0, "written"), done)
            self.assertEqual(self.written(), "hello")
            self.assertIn("Observation 1: ", model.requests[1].messages[-1]["content"])
            self.assertEqual(len(model.requests), 2)

    def test_leave_that_is_given(self):
        for number, (policy, more) in enumerate([("{}", ["--yes"]), ('{ ["file.write"] = "allow" }', []), ("{}", ["--policy", "file=allow"])]):
            with MockModel([WRITE, DONE]) as model:
                done = self.run_it(model, self.script(policy), *more)
                self.assertEqual((done.code, self.written()), (0, "hello"), done)
                os.unlink(os.path.join(self.work, "a.txt"))

    def test_a_refusal_is_an_observation(self):
        for policy, more in [('{ ["file.write"] = "deny" }', ["--yes"]), ("{}", ["--policy", "file.write=deny"])]:
            with MockModel([WRITE, "I may not.\nAction 2: finish[not written]"]) as model:
                done = self.run_it(model, self.script(policy), *more)
                self.assertEqual((done.code, done.out.strip()), (0, "not written"), done)
                self.assertFalse(self.written())
                self.assertRegex(model.requests[1].messages[-1]["content"], r"Observation 1: error: .*(refus|denied|policy)")

    def test_the_calls_stand_in_the_journal(self):
        with MockModel([WRITE, 'Action: file.read[{"path": "a.txt"}]', "Action: finish[hello]"]) as model:
            done = self.run_it(model, self.script(), "--yes", "--output", "stream-json")
            self.assertEqual([e["body"]["tool"] for e in done.events("tool.intent")], ["file.write", "file.read"], done)
            self.assertTrue(all(e["body"]["ok"] for e in done.events("tool.result")))
            self.assertIn("hello", model.requests[2].messages[-1]["content"].split("Observation 2:")[1])

    def test_a_limit_ends_it(self):
        with MockModel([WRITE, DONE]) as model:
            done = self.run_it(model, self.script(), "--yes", "--limit", "steps=2")
            self.assertEqual(done.code, 0, done)
        with MockModel([WRITE]) as model:
            done = self.run_it(model, self.script(), "--yes", "--limit", "steps=1")
            self.assertEqual(done.code, 3, done)


if __name__ == "__main__":
    harness.main()
