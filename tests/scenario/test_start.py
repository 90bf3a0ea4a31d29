# SPDX-License-Identifier: MIT
"""What is wrong before a run has begun: scripts, names in them, tools and models. Each is exit 2, nothing on stdout, and an error
that says where the mistake is and what was probably meant; no model is asked."""
import os
import re
import unittest

import harness
import terminal
from mock_model import MockModel, calls, text

AGENT = 'local moon = require "moonlet"\nreturn moon.agent { '
FORMS = ("text", "json", "stream-json")


def fields_of(heading):
    """The names in the first column of the table below a heading of docs/lua.md."""
    part = (harness.SOURCE / "docs" / "lua.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [name for row in re.findall(r"(?m)^\| (`.*?) \|", part) for name in re.findall(r"`(\w+)`", row)]


def misspelt(name):
    """Two letters of a name change places."""
    at = next(at for at in range(1, len(name)) if name[at - 1] != name[at])
    return name[:at - 1] + name[at] + name[at - 1] + name[at + 1:]


class Start(harness.Case):
    def start_fails(self, *args, said, env=None, code=2):
        """In every output format."""
        for form in FORMS:
            done = self.moonlet(*args, "--output", form, env=env)
            self.assertEqual(done.code, code, done)
            self.assertEqual(terminal.raw(done.raw_err), [], done)
            for word in said:
                self.assertIn(word, done.err)
            self.assertNotIn("Sanitizer", done.err)
            if form == "text":
                self.assertEqual(done.out, "", done)
                continue
            last = done.json() if form == "json" else done.events()[-1]
            self.assertEqual((last["exit_code"], last["stop_reason"]), (code, "failed"), done)
            self.assertTrue(last["error"], done)
        return done


class Scripts(Start):
    def test_files_that_are_no_script(self):
        rows = [
            ("missing.lua", None, ["missing.lua", "No such file"]),
            ("no/such/dir.lua", None, ["no/such/dir.lua"]),
            ("empty.lua", b"", ["this one returns nothing"]),
            ("number.lua", b"return 1", ["this one returns number"]),
            ("compiled.lua", b"\x1bLua\x54\0\x19\x93\r\n\x1a\n", ["compiled.lua", "only source"]),
            ("bytes.lua", b"\xff\xfe\0\0", ["bytes.lua:1"]),
            ("nul.lua", b"return \0 1", ["nul.lua:1"]),
        ]
        for name, content, said in rows:
            with self.subTest(name):
                if content is not None:
                    self.file(name, content)
                self.start_fails("run", "./" + name, "x", said=said)

    def test_scripts_that_cannot_be_taken_are_exit_2_too(self):
        os.mkdir(os.path.join(self.work, "dir.lua"))
        self.file("long.lua", b"return '" + b"x" * (2 << 20) + b"'")
        self.file("endless.lua", "while true do end")
        self.file("greedy.lua", "local t = {} while true do t[#t + 1] = ('x'):rep(1 << 16) .. #t end")
        os.symlink("round.lua", os.path.join(self.work, "round.lua"))
        for name, said in (("dir.lua", "not a file"), ("long.lua", "1048576"), ("endless.lua", "budget"), ("greedy.lua", "memory"), ("round.lua", "symbolic")):
            with self.subTest(name):
                done = self.moonlet("run", "./" + name, "x")
                self.assertIn(said, done.err)
                self.assertEqual((done.code, done.out), (2, ""), done)

    def test_scripts_that_cannot_be_taken_end(self):
        """As above, whatever the exit code is; a line of 100 MB is not read to its end."""
        os.mkdir(os.path.join(self.work, "dir.lua"))
        with open(os.path.join(self.work, "long.lua"), "wb") as out:
            out.write(b"return '")
            out.truncate(100 << 20)
        os.mkfifo(os.path.join(self.work, "pipe.lua"))  # nobody writes: it must not be waited for
        self.file("locked.lua", "return 1", mode=0)
        for name, said in (("dir.lua", "not a file"), ("long.lua", "1048576"), ("pipe.lua", "not a file"), ("locked.lua", "Permission denied")):
            if name == "locked.lua" and not os.getuid():
                continue  # root may read it
            with self.subTest(name):
                done = self.moonlet("run", "./" + name, "x")
                self.assertIn(done.code, (1, 2), done)
                self.assertIn(said, done.err)
                self.assertEqual(done.out, "")

    SYNTAX = (
        ("return moon.agent {", ":1"),
        ("local x = 1\n\nreturn { y = = 2 }\n", ":3"),
        ("local moon = require 'moonlet'\nreturn moon.agent { name = 'x\n}", ":2"),
        ("return '\\q'", ":1"),
        ("x = '\x1b]0;owned\x07\x1b[31m\n", ":1"),
        ("goto nowhere", ":1"),
        ("(" * 100_000, ""),  # the parser's own depth: without a place
    )

    def test_syntax_errors_name_file_and_line(self):
        for number, (source, line) in enumerate(self.SYNTAX):
            with self.subTest(source[:40]):
                name = f"wrong{number}.lua"
                self.file(name, source)
                self.start_fails("run", "./" + name, "x", said=[name + line] if line else ["overflow"])

    def test_syntax_errors_name_file_and_line_in_json(self):
        self.file("wrong.lua", "local x = 1\n\nreturn { y = = 2 }\n")
        self.assertIn("wrong.lua:3", self.moonlet("run", "./wrong.lua", "x", "--json").json()["error"])
        self.assertIn("wrong.lua:3", self.moonlet("run", "./wrong.lua", "x", "--output", "stream-json").events()[-1]["error"])

    def test_errors_while_a_script_is_loaded(self):
        for number, (body, said) in enumerate((
            ('error("boom")', "boom"), ("return nothing.at_all", "nothing"), ('return require "moonlet".agnet {}', "agnet"), ('require "lib.none"', "lib.none"),
            ('error { "a table" }', ""), ('error("\\27[2J\\7")', "[2J"), ("return ('x'):rep(1 << 40)", "too large"),
        )):
            with self.subTest(body):
                name = f"raises{number}.lua"
                self.file(name, body)
                self.start_fails("run", "./" + name, "x", said=[said, f"{name}"] if said else [])


class Names(Start):
    """A misspelt name is an error that names the nearest."""

    def nearest(self, source, right, *arguments):
        self.file("x.lua", source)
        done = self.moonlet("run", "./x.lua", "go", *arguments)
        self.assertEqual((done.code, done.out), (2, ""), done)
        self.assertRegex(done.err, rf'did you mean "?{re.escape(right)}"?\b', done)
        return done

    def test_fields_of_an_agent(self):
        fields = fields_of("moon.agent")
        self.assertLessEqual({"name", "instructions", "tools", "limits", "stall_seconds", "extra", "top_p"}, set(fields))
        for field in fields:
            with self.subTest(field):
                done = self.nearest(f"{AGENT}{misspelt(field)} = 1 }}", field)
                self.assertIn("x.lua:2", done.err)
        self.nearest(f"{AGENT}instrutions = 'x' }}", "instructions")

    def test_fields_of_a_tool_and_its_effects(self):
        tool = 'local moon = require "moonlet"\nlocal t = moon.tool { name = "t", description = "d", params = {}, call = function() end, '
        for field in ("name", "description", "params", "effects", "call", "timeout"):
            with self.subTest(field):
                self.nearest(f"{tool}{misspelt(field)} = 1 }}\nreturn moon.agent {{ tools = {{ t }} }}", field)
        for effect in ("read_only", "destructive", "idempotent", "open_world"):
            with self.subTest(effect):
                self.nearest(f"{tool}effects = {{ {misspelt(effect)} = true }} }}\nreturn moon.agent {{ tools = {{ t }} }}", effect)

    def test_limits(self):
        for limit in ("steps", "tool_calls", "seconds", "tokens", "usd", "handoffs"):
            with self.subTest(limit):
                self.nearest(f"{AGENT}limits = {{ {misspelt(limit)} = 1 }} }}", limit)
                self.nearest(f"{AGENT}}}", limit, "--limit", misspelt(limit) + "=1")
                self.file("config.lua", f"return {{ limits = {{ {misspelt(limit)} = 1 }} }}")
                self.nearest(f"{AGENT}}}", limit, "--config", os.path.join(self.work, "config.lua"))

    def test_configuration(self):
        for body, right in (("modle = 'x'", "model"), ("limts = {}", "limits"), ("polcy = {}", "policy"), ("policy = { shell = 'alow' }", "allow"),
                            ("providers = { office = { bse_url = 'http://127.0.0.1/' } }", "base_url")):
            with self.subTest(body):
                self.file("config.lua", "return { " + body + " }")
                self.nearest(f"{AGENT}}}", right, "--config", os.path.join(self.work, "config.lua"))

    def test_tools(self):
        for wrong, right in (("file.reed", "file.read"), ("gti.log", "git.log"), ("git.lgo", "git.log"), ("serach", "search"), ("shel", "shell")):
            with self.subTest(wrong):
                self.nearest(f"{AGENT}tools = {{ '{wrong}' }} }}", right)
                for args in (("call", wrong, "{}"), ("tools", wrong)):
                    done = self.moonlet(*args)
                    self.assertEqual((done.code, done.out), (2, ""), done)
                    self.assertRegex(done.err, rf'did you mean "?{re.escape(right)}\b')
                # A model that asks for it is told as well, and the run goes on.
                with MockModel([calls((wrong, {})), text("sorry")]) as model:
                    done, out = self.run_agent(model, self.agent(tools='"file", "git", "search", "shell"'), "go")
                self.assertEqual((done.code, out["text"]), (0, "sorry"), done)
                self.assertIn(right, model.requests[1].messages[-1]["content"])

    def test_tool_that_is_like_none(self):
        self.file("x.lua", f"{AGENT}tools = {{ 'zzzzzzzz' }} }}")
        self.start_fails("run", "./x.lua", "go", said=["zzzzzzzz", "moonlet tools"])

    def test_policy_for_no_tool_is_said(self):
        done = self.moonlet("call", "file.list", "{}", "--policy", "terminal=deny")
        self.assertIn("terminal", done.err)


class Models(Start):
    def test_no_such_model(self):
        self.file("agent.lua", AGENT + "}")
        self.file("other.lua", AGENT + "}")
        self.file("wrong.lua", "return {")
        rows = [
            ("nosuch/model", ["no provider", "nosuch", "openai"]),
            ("just-a-name", ["just-a-name", "provider/model"]),
            ("", ["provider/model"]),
            ("/x", ["provider/model"]),
            ("ollama", ["ollama/MODEL"]),
            ("openai/gpt", ["OPENAI_API_KEY"]),
            ("custom/x", ["MOONLET_BASE_URL"]),
            ("none.lua", ["none.lua", "No such file"]),
            ("./other.lua", ["other.lua", "no model"]),
            ("./wrong.lua", ["wrong.lua:1"]),
            ("\x1b[31mred/x", ["no provider"]),
        ]
        for model, said in rows:
            with self.subTest(model):
                self.start_fails("run", "./agent.lua", "go", "-m", model, said=said)
                if not model:
                    continue
                self.start_fails("run", "./agent.lua", "go", said=said, env=self.environment(MOONLET_MODEL=model))
                if "\x1b" not in model:
                    self.file("inside.lua", f'{AGENT}model = "{model}" }}')
                    self.start_fails("run", "./inside.lua", "go", said=said)

    def test_base_url_that_is_none(self):
        self.file("agent.lua", AGENT + "}")
        for url in ("nonsense", "file:///etc/passwd", "ftp://127.0.0.1/", "http://", "\x1b[31m"):
            with self.subTest(url):
                self.start_fails("run", "./agent.lua", "go", "-m", "custom/x", said=["MOONLET_BASE_URL"], env=self.environment(MOONLET_BASE_URL=url))

    def test_key_that_is_none(self):
        self.file("agent.lua", AGENT + "}")
        done = self.start_fails("run", "./agent.lua", "go", "-m", "openai/x", said=["OPENAI_API_KEY"], env=self.environment(OPENAI_API_KEY="sk-secret\r\nX-Evil: 1"))
        self.assertNotIn("sk-secret", done.out + done.err)


if __name__ == "__main__":
    harness.main()
