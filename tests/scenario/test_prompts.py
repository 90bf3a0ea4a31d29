# SPDX-License-Identifier: MIT
"""Prompts in runs that are kept: which version a run used, and that a run that is resumed is told the same."""
import hashlib
import json
import os
import re
import unittest

import harness

SCRIPT = """
local moon = require "moonlet"
local review = moon.prompt.file "prompts/review.md"
return function(input)
  local text = review:render { path = input }
  moon.wait "go"
  return text .. "/" .. review:render { path = input }
end
"""
LATE = """
local moon = require "moonlet"
return function(input)
  local first = moon.prompt.file("prompts/review.md"):render { path = input }
  moon.wait "go"
  return first .. "/" .. moon.prompt.file("prompts/review.md"):render { path = input }
end
"""
AGENT = """
local moon = require "moonlet"
local model = moon.model.script(function(request)
  return request.messages[1].role .. ":" .. request.messages[1].content .. ":" .. #request.messages
end)
local p = moon.prompt { name = "greeting", text = "Greet {{who}}." }
return moon.agent { name = "greeter", tools = {}, model = model, instructions = p:with { who = "Ada" } }
"""


class Prompts(harness.Case):
    def setUp(self):
        super().setUp()
        self.file("prompts/review.md", "# Review {{path}}\n{{> rules}}\n")
        self.file("prompts/rules.md", "Be brief.\n")

    def last(self):
        return json.loads(self.moonlet("runs", "--json").out)[0]["run"]

    def events(self, run, kind):
        lines = [json.loads(line) for line in self.moonlet("show", run, "--events").out.splitlines()]
        return [e for e in lines if e["type"] == kind]

    def begin(self, script):
        done = self.moonlet("run", self.file("f.lua", script), "x.c", "--park")
        self.assertEqual(done.code, 4, done)
        run = self.last()
        self.moonlet("signal", run, "go", "1")
        return run

    def test_a_run_tells_the_version_once(self):
        run = self.begin(SCRIPT)
        done = self.moonlet("resume", run)
        self.assertEqual((done.code, done.out.strip()), (0, "# Review x.c\nBe brief.\n/# Review x.c\nBe brief."), done)
        told = self.events(run, "prompt.rendered")
        self.assertEqual(len(told), 1)
        self.assertEqual(told[0]["body"]["name"], "prompts/review.md")
        self.assertRegex(told[0]["body"]["hash"], "^[0-9a-f]{64}$")
        self.assertIn(f"prompt prompts/review.md, version {told[0]['body']['hash'][:12]}", self.moonlet("show", run).out)
        created = self.events(run, "run.created")[0]["body"]
        self.assertEqual([s["path"] for s in created["sources"]][1:], ["prompts/review.md", "prompts/rules.md"])
        self.assertEqual(created["sources"][2]["sha256"], hashlib.sha256(b"Be brief.\n").hexdigest())

    def test_the_recorded_text_is_there_when_the_file_has_changed(self):
        run = self.begin(SCRIPT)
        self.file("prompts/rules.md", "Be long.\n")
        os.unlink(os.path.join(self.work, "prompts/review.md"))
        done = self.moonlet("resume", run)
        self.assertEqual(done.code, 2, done)
        self.assertIn("prompts/review.md", done.err)
        done = self.moonlet("resume", run, "--recorded-script")
        self.assertEqual((done.code, done.out.strip()), (0, "# Review x.c\nBe brief.\n/# Review x.c\nBe brief."), done)

    def test_a_file_read_within_a_run_is_a_recorded_value(self):
        run = self.begin(LATE)
        self.file("prompts/rules.md", "Be long.\n")
        done = self.moonlet("resume", run)
        self.assertEqual((done.code, done.out.strip()), (0, "# Review x.c\nBe brief.\n/# Review x.c\nBe long."), done)
        self.assertEqual([e["body"]["kind"] for e in self.events(run, "value.recorded") if e["body"]["kind"].startswith("file")],
                         ["file prompts/review.md", "file prompts/rules.md"] * 2)
        self.assertEqual(len({e["body"]["hash"] for e in self.events(run, "prompt.rendered")}), 2)

    def test_another_file_at_the_same_place_is_another_script(self):
        run = self.begin(LATE)
        self.file("prompts/other.md", "Other {{path}}")
        self.file("f.lua", LATE.replace("review.md", "other.md"))
        done = self.moonlet("resume", run)
        self.assertEqual(done.code, 2, done)
        self.assertIn("file prompts/review.md", done.err)
        self.assertIn("file prompts/other.md", done.err)

    def test_instructions_are_told_by_the_agents_run(self):
        done = self.moonlet("run", self.file("a.lua", AGENT), "hi")
        self.assertEqual((done.code, done.out.strip()), (0, "system:Greet Ada.:2"), done)
        told = self.events(self.last(), "prompt.rendered")
        self.assertEqual([e["body"]["name"] for e in told], ["greeting"])

    def test_files_outside_are_refused(self):
        outside = self.file("../outside.md", "secret")
        os.symlink(outside, os.path.join(self.work, "prompts/link.md"))
        for path in ("../outside.md", "prompts/link.md", "prompts/../../outside.md", outside):
            with self.subTest(path):
                done = self.moonlet("run", self.file("f.lua", f'local p = require("moonlet").prompt.file("{path}") return p'), "x")
                self.assertEqual(done.code, 2, done)
                self.assertNotIn("secret", done.err)
                self.assertIn(f'f.lua:1: prompt file "{path}"', done.err)

    def test_mistakes_say_where(self):
        self.file("prompts/review.md", "# Review\n\n{{#if path}}\n")
        done = self.moonlet("run", self.file("f.lua", SCRIPT), "x")
        self.assertEqual(done.code, 2, done)
        self.assertIn('f.lua:3: prompt "prompts/review.md", line 3: {{#if}} is not closed', done.err)
        self.file("prompts/review.md", "# Review\n\n{{pth}}\n")
        done = self.moonlet("run", self.file("f.lua", SCRIPT), "x")
        self.assertEqual(done.code, 1, done)
        self.assertIn('f.lua:5: prompt "prompts/review.md", line 3: variable "pth" is missing (given: path)', done.err)

    def test_the_pages_script_runs(self):
        page = (harness.SOURCE / "docs" / "prompts.md").read_text()
        script = re.search(r"```lua\n(.*?)```", page, re.S).group(1)
        model = self.file("m.lua", 'return require("moonlet").model.script(function(r) return r.messages[1].content end)')
        done = self.moonlet("run", self.file("page.lua", script), "-", "-m", model, input=b"+ x\n```")
        self.assertEqual(done.code, 0, done)
        self.assertIn("# Task\n\nReview these files:\n- x.c\n\n# Context\n\nErrors are returned", done.out)
        self.assertIn("````\n+ x\n```\n````", done.out)


if __name__ == "__main__":
    harness.main()
