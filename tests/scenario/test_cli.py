# SPDX-License-Identifier: MIT
"""The command line: help, usage errors, tools, call, new, doctor, output, progress and approval on a terminal."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time

import harness
from mock_model import MockModel, text

COMMANDS = ("run", "resume", "runs", "show", "approve", "deny", "signal", "fork", "replay", "cancel", "export", "import", "gc", "worktrees", "test",
            "tools",
            "call", "graph", "new", "doc", "doctor")
ECHO = """
local last = request.messages[#request.messages]
if last.role == "tool" then return "told: " .. last.content end
"""


def script(body, fields=""):
    """A script whose agent has a scripted model; body is what it does with its request."""
    return (
        'local moon = require "moonlet"\n'
        'return moon.agent { name = "probe", model = moon.model.script(function(request)\n' + body + "\nend), " + fields + " }\n"
    )


class Usage(harness.Case):
    def test_every_command_has_help_with_examples(self):
        overview = self.moonlet("--help")
        self.assertEqual((overview.code, overview.err), (0, ""), overview)
        self.assertEqual(self.moonlet("help", "help").out, overview.out)
        for name in COMMANDS:
            self.assertRegex(overview.out, rf"(?m)^  {name} ")
            by_option, by_command = self.moonlet(name, "--help"), self.moonlet("help", name)
            self.assertEqual((by_option.code, by_option.err), (0, ""), by_option)
            self.assertEqual(by_option.out, by_command.out)
            self.assertRegex(by_option.out, rf"\nexamples:\n(  .*\n)*.*moonlet {name}")

    def test_limits_of_the_examples_let_an_answer_through(self):
        texts = [self.moonlet("help", "run").out, (harness.SOURCE / "docs" / "man" / "moonlet.1").read_text()]
        limits = {limit for text in texts for limit in re.findall(r"--limit (\w+=[\d.]+)", text)}
        self.assertTrue(limits)
        with MockModel(lambda request: "fine") as model:
            for limit in limits:
                self.file("x.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", tools = {} }')
                done = self.moonlet("run", "./x.lua", "go", "-m", "custom/mock", "--limit", limit, env=self.environment(model))
                self.assertEqual((done.code, done.out), (0, "fine\n"), done)

    def test_help_lists_the_shipped_agents(self):
        out = self.moonlet("help", "run").out
        for path in (harness.SOURCE / "agents").glob("*.lua"):
            what = re.search(rf"(?m)^-- {path.stem}: (.*?)[.:](\s|$)", path.read_text()).group(1)
            (self.assertNotRegex if path.stem == "offline" else self.assertRegex)(out, rf"(?m)^  {path.stem} +{re.escape(what)}")

    def test_version(self):
        done = self.moonlet("--version")
        self.assertRegex(done.out, r"\Amoonlet \d+\.\d+\.\d+\nbuild: .+\nlibraries: libuv \d.+libgit2 \d")

    def test_mistakes_are_exit_2_and_name_the_nearest(self):
        for args, said in (
            ((), "a command is needed"),
            (("rum",), 'did you mean "run"'),
            (("zzzzzz",), "--help"),
            (("agent.lua",), "moonlet run agent.lua"),
            (("help", "tols"), 'did you mean "tools"'),
            (("run",), "an agent's name or a script is needed"),
            (("run", "x", "--modle", "y"), "did you mean --model"),
            (("run", "x", "-Z"), "unknown option -Z"),
            (("run", "x", "--model"), "--model needs a value"),
            (("run", "x", "--yes=1"), "--yes takes no value"),
            (("run", "x", "a", "b"), "one operand too many"),
            (("run", "x", "a", "-p", "b"), "given twice"),
            (("run", "x", "--output", "xml"), "text, json or stream-json"),
            (("run", "x", "--limit", "steps"), "KEY=N"),
            (("run", "x", "--limit", "step=1"), "did you mean steps"),
            (("run", "x", "--limit", "steps=-1"), "whole number from 0 up"),
            (("run", "x", "--limit", "steps=1e3"), "whole number from 0 up"),
            (("run", "x", "--limit", "steps="), "whole number from 0 up"),
            (("run", "x", "--limit", "usd=.5"), "number from 0 up"),
            (("run", "x", "--limit", "usd=1.5.1"), "number from 0 up"),
            (("run", "x", "--policy", "shell"), "TOOL=allow"),
            (("run", "x", "--policy", "shell=maybe"), "TOOL=allow"),
            (("run", "x", "--base-url", "http://127.0.0.1/"), "custom/NAME"),
            (("tools", "file.reed"), "did you mean file.read"),
            (("call",), "a tool's name is needed"),
            (("call", "file.reed", "{}"), "file.read"),
            (("new", "agent"), "say what"),
            (("new", "agnet", "x"), "did you mean agent"),
            (("new", "agent", "../x"), "is no name"),
            (("new", "tool", "Big"), "is no name"),
            (("doctor", "x"), "no operand"),
        ):
            with self.subTest(args):
                done = self.moonlet(*args)
                self.assertEqual((done.code, done.out), (2, ""), done)
                self.assertIn(said, done.err)

    def test_hostile_words_are_not_written_raw(self):
        done = self.moonlet("\x1b]0;owned\x07", "x")
        self.assertEqual(done.code, 2)
        self.assertNotIn(b"\x1b", done.raw_err)

    def test_start_failures_are_exit_2_in_every_format(self):
        self.file("syntax.lua", "return moon.agent {")
        self.file("field.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", instrutions = "y" }')
        for name, said in (("missing.lua", "missing.lua"), ("syntax.lua", "syntax.lua:1"), ("field.lua", "instructions"), ("brif", "brief")):
            with self.subTest(name):
                path = name if name == "brif" else "./" + name
                done = self.moonlet("run", path, "x")
                self.assertEqual((done.code, done.out), (2, ""), done)
                self.assertIn(said, done.err)
                as_json = self.moonlet("run", path, "x", "--json").json()
                self.assertEqual((as_json["exit_code"], as_json["stop_reason"], as_json["run"]), (2, "failed", None))
                self.assertIn(said.split(":")[0], as_json["error"] + done.err)
                events = self.moonlet("run", path, "x", "--output", "stream-json").events()
                self.assertEqual([(e["type"], e["exit_code"]) for e in events], [("run.finished", 2)])

    def test_wrong_paths_and_settings_are_exit_2(self):
        self.file("a.txt", "alpha\n")
        self.file("loose/.moonlet/config.lua", 'return { policy = { shell = "allow" } }')
        self.file("dir/.moonlet/config.lua/x", "")
        self.file("x.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x" }')
        for args, said in (
            (("run", "./x.lua", "-C", "a.txt"), "a.txt: Not a directory"),
            (("run", "./x.lua", "-C", "none"), "none: No such file"),
            (("run", "./loose"), "loose is a directory, not a file"),
            (("run", "/dev/null/x.lua"), "Not a directory"),
            (("run", "./x.lua", "-C", "loose"), "cannot allow shell"),
            (("run", "./x.lua", "-C", "dir"), "is a directory, not a file"),
            (("run", "./x.lua", "--config", "none.lua"), "none.lua"),
            (("run", "./x.lua", "--config", "."), "is a directory, not a file"),
            (("call", "file.list", "{}", "--plugin", "./a.txt"), "a.txt"),
        ):
            with self.subTest(args):
                done = self.moonlet(*args)
                self.assertEqual((done.code, done.out), (2, ""), done)
                self.assertIn(said, done.err)

    def test_help_on_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = self.finish(self.start("--help", stdout=full))
        self.assertEqual(done.code, 1, done)
        self.assertIn("No space left", done.err)

    def test_standard_descriptors_may_be_closed(self):
        self.file("a.txt", "alpha\n")
        line = f'exec {harness.binary()} call file.read \'{{"path":"a.txt"}}\' <&- >&-'
        done = subprocess.run(["sh", "-c", line], cwd=self.work, env=self.env, stderr=subprocess.PIPE, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(b"cannot write the result", done.stderr)


class Completions(harness.Case):
    def test_shells_and_the_manual_know_all_commands(self):
        manual = re.sub(r"\\f.", " ", (harness.SOURCE / "docs" / "man" / "moonlet.1").read_text())
        for part in ("SYNOPSIS", "COMMANDS"):
            text = manual.split(f".SH {part}\n")[1].split(".SH ")[0]
            self.assertEqual([name for name in COMMANDS if not re.search(rf"\b{name}\b", text)], [], part)
        for file in ("moonlet.bash", "_moonlet", "moonlet.fish"):
            text = (harness.SOURCE / "scripts" / "completions" / file).read_text()
            self.assertEqual([name for name in COMMANDS if not re.search(rf"\b{name}\b", text)], [], file)

    def test_shells_and_the_manual_know_all_options(self):
        for name in COMMANDS:
            listed = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", self.moonlet("help", name).out, re.M))
            self.assertTrue(listed)
            for file, mark in (("moonlet.bash", "--{}"), ("_moonlet", "--{}"), ("moonlet.fish", "-l {}")):
                text = (harness.SOURCE / "scripts" / "completions" / file).read_text()
                missing = [o for o in listed if not re.search(re.escape(mark.format(o)) + r"\b", text)]
                self.assertEqual(missing, [], f"{file} does not know these options of {name}")
            manual = (harness.SOURCE / "docs" / "man" / "moonlet.1").read_text().replace("\\-", "-")
            self.assertEqual([o for o in listed if "--" + o not in manual], [], f"the manual, of {name}")


class Tools(harness.Case):
    def test_list(self):
        done = self.moonlet("tools")
        self.assertEqual((done.code, done.err), (0, ""), done)
        names = [line.split()[0] for line in done.out.splitlines()]
        self.assertEqual(names, sorted(names))
        for name in ("file.read", "file.write", "file.edit", "file.list", "search", "shell", "git.log"):
            self.assertIn(name, names)

    def test_json_has_every_tool_with_its_schema(self):
        tools = {tool["name"]: tool for tool in self.moonlet("tools", "--json").json()}
        self.assertEqual(list(tools), [line.split()[0] for line in self.moonlet("tools").out.splitlines()])
        self.assertEqual(tools["file.read"]["effects"]["read_only"], True)
        self.assertEqual(tools["shell"]["effects"]["open_world"], True)
        for tool in tools.values():
            self.assertEqual(tool["params"]["type"], "object")
            self.assertGreater(tool["timeout_ms"], 0)

    def test_one_and_a_group(self):
        one = self.moonlet("tools", "file.edit")
        self.assertIn('"additionalProperties"', one.out)
        group = self.moonlet("tools", "file")
        self.assertEqual({line.split(".")[0] for line in group.out.splitlines()}, {"file"})

    def test_no_network_library_is_loaded(self):
        env = dict(self.env, LD_DEBUG="files")
        done = self.moonlet("tools", env=env)
        self.assertNotRegex(done.err, r"lib(curl|git2|ssl)\b.*\.so")


class Call(harness.Case):
    def test_result_is_on_stdout(self):
        self.file("a.txt", "alpha\nbeta\n")
        done = self.moonlet("call", "file.read", '{"path":"a.txt"}')
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertIn("beta", done.out)

    def test_arguments_from_stdin(self):
        self.file("a.txt", "alpha\n")
        done = self.moonlet("call", "file.read", "-", input='{"path":"a.txt"}\n')
        self.assertEqual(done.code, 0, done)
        self.assertIn("alpha", done.out)

    def test_directory(self):
        self.file("sub/a.txt", "alpha\n")
        done = self.moonlet("call", "file.read", '{"path":"a.txt"}', "-C", "sub")
        self.assertEqual(done.code, 0, done)

    def test_failing_tool(self):
        done = self.moonlet("call", "file.read", '{"path":"none.txt"}')
        self.assertEqual((done.code, done.out), (1, ""), done)
        self.assertIn("none.txt", done.err)

    def test_wrong_arguments(self):
        for args, said in (('{"path":', "JSON"), ("{}", "path"), ('{"pth":"x"}', "path"), ('{"path":7}', "string"), ("[]", "object")):
            with self.subTest(args):
                done = self.moonlet("call", "file.read", args)
                self.assertEqual((done.code, done.out), (2, ""), done)
                self.assertIn(said, done.err)

    def test_leave_is_needed(self):
        done = self.moonlet("call", "shell", '{"command":"echo hi > made"}')
        self.assertEqual((done.code, done.out), (4, ""), done)
        self.assertIn("--policy shell=allow", done.err)
        self.assertIn("--yes", done.err)
        self.assertFalse(os.path.exists(os.path.join(self.work, "made")))
        for leave in (("--yes",), ("--policy", "shell=allow"), ("--policy", "*=allow")):
            done = self.moonlet("call", "shell", '{"command":"echo hi"}', *leave)
            self.assertEqual(done.code, 0, done)
            self.assertTrue(done.out.startswith("hi\n"), done)

    def test_denied_is_exit_5(self):
        done = self.moonlet("call", "file.read", '{"path":"x"}', "--policy", "file=deny")
        self.assertEqual((done.code, done.out), (5, ""), done)

    def test_more_exact_rule_counts(self):
        done = self.moonlet("call", "shell", '{"command":"echo hi"}', "--policy", "shell=allow", "--policy", "*=deny")
        self.assertEqual(done.code, 0, done)

    def test_rule_for_no_tool_is_warned_of(self):
        done = self.moonlet("call", "file.list", "{}", "--policy", "shel=deny")
        self.assertEqual(done.code, 0, done)
        self.assertIn("did you mean shell", done.err)

    def test_json(self):
        self.file("a.txt", "alpha\n")
        out = self.moonlet("call", "file.list", "{}", "--json").json()
        self.assertEqual((out["exit_code"], out["stop_reason"], out["usage"]["tool_calls"]), (0, "done", 1))
        self.assertEqual(out["output"]["files"][0]["path"], "a.txt")
        self.assertEqual(json.loads(out["text"]), out["output"])


class Run(harness.Case):
    def test_answer_of_a_script(self):
        self.file("x.lua", script('return "you said: " .. request.messages[#request.messages].content'))
        done = self.moonlet("run", "./x.lua", "hello")
        self.assertEqual((done.code, done.out, done.err), (0, "you said: hello\n", ""), done)
        done = self.moonlet("run", "./x.lua", "-p", "hello")
        self.assertEqual(done.out, "you said: hello\n")
        done = self.moonlet("run", "./x.lua", "--", "--yes")
        self.assertEqual(done.out, "you said: --yes\n")

    def test_without_an_input_stdin_is_not_touched(self):
        self.file("x.lua", script('return "said: " .. request.messages[#request.messages].content'))
        read, write = os.pipe()
        os.write(write, b"secret")
        done = self.finish(self.start("run", "./x.lua", stdin=read))
        self.assertEqual((done.code, done.out), (0, "said: \n"), done)
        self.assertEqual(os.read(read, 100), b"secret")
        os.close(read)
        os.close(write)

    def test_last_message_goes_to_a_file_too(self):
        self.file("x.lua", script('return "the answer"'))
        self.file("out.md", "something longer that was there before\n")
        done = self.moonlet("run", "./x.lua", "-o", "out.md", "--json")
        self.assertEqual((done.code, done.json()["text"]), (0, "the answer"), done)
        with open(os.path.join(self.work, "out.md"), encoding="utf-8") as out:
            self.assertEqual(out.read(), "the answer\n")

    def test_file_is_written_by_a_run_that_is_done_alone(self):
        old, new = self.file("old.md", "a good brief\n"), os.path.join(self.work, "new.md")
        self.file("x.lua", script('return { text = "half", tool_calls = { { name = "file.list" } } }', 'tools = { "file" }'))
        self.file("fails.lua", script('error("no")'))
        for args, code in ((("./x.lua", "--limit", "steps=1"), 3), (("./fails.lua",), 1), (("./none.lua",), 2), (("./x.lua", "--config", "none"), 2)):
            for path in ("old.md", "new.md"):
                with self.subTest((args, path)):
                    done = self.moonlet("run", *args, "-o", path)
                    self.assertEqual(done.code, code, done)
                    with open(old, encoding="utf-8") as kept:
                        self.assertEqual(kept.read(), "a good brief\n")
                    self.assertFalse(os.path.exists(new))

    def test_file_that_cannot_be_written_is_found_before_the_run(self):
        self.file("x.lua", script('error("this must not run")'))
        done = self.moonlet("run", "./x.lua", "-o", "no/such/dir")
        self.assertEqual((done.code, done.out), (2, ""), done)
        self.assertIn("no/such/dir", done.err)

    def test_disk_full_for_the_file(self):
        self.file("x.lua", script('return "the answer"'))
        done = self.moonlet("run", "./x.lua", "-o", "/dev/full")
        self.assertEqual((done.code, done.out), (1, "the answer\n"), done)
        self.assertIn("No space left", done.err)

    def test_limit_zero_is_zero(self):
        self.file("x.lua", script('return "never"'))
        done = self.moonlet("run", "./x.lua", "--limit", "steps=0", "--json")
        self.assertEqual((done.code, done.json()["stop_reason"], done.json()["usage"]["steps"]), (3, "limit_steps", 0), done)

    def test_offline_model_is_said_once(self):
        self.file("x.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", tools = { "file.list" } }')
        done = self.moonlet("run", "./x.lua", "hello")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.err.count("\n"), 1, done)
        self.assertRegex(done.err, "no model is configured.*OPENAI_API_KEY.*MOONLET_MODEL.*moonlet doctor")
        for chosen in (("-m", "offline"), ("--quiet",)):
            self.assertEqual(self.moonlet("run", "./x.lua", "hello", *chosen).err, "")

    def test_offline_model_shows_results_as_they_are(self):
        self.file("x.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", tools = { "file.list" } }')
        done = self.moonlet("run", "./x.lua", "hello", "-m", "offline")
        self.assertIn('\n    {"dirs":[{"path":".","files":1,', done.out)
        self.assertNotIn("\\[", done.out)

    def test_output_schema(self):
        self.file("s.json", '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}')
        self.file("good.lua", script('return "```json\\n{\\"n\\": 3}\\n```"'))
        self.file("late.lua", script('if request.messages[#request.messages].content:find("does not fit", 1, true) then return [[{"n":4}]] end return [[{"n":"x"}]]'))
        self.file("never.lua", script('return "sorry"'))
        done = self.moonlet("run", "./good.lua", "go", "--output-schema", "s.json", "--json")
        self.assertEqual((done.code, done.json()["output"]), (0, {"n": 3}), done)
        done = self.moonlet("run", "./late.lua", "go", "--output-schema", "s.json")
        self.assertEqual((done.code, done.out), (0, '{"n":4}\n'), done)
        done = self.moonlet("run", "./never.lua", "go", "--output-schema", "s.json", "--json")
        self.assertEqual((done.code, done.json()["stop_reason"]), (7, "output_schema"), done)
        self.assertIn("not JSON", done.err)
        for text in ("{", '{"type":"strnig"}'):
            self.file("bad.json", text)
            done = self.moonlet("run", "./good.lua", "go", "--output-schema", "bad.json")
            self.assertEqual(done.code, 2, done)
        self.assertEqual(self.moonlet("run", "./good.lua", "go", "--output-schema", "none.json").code, 2)

    def test_verbose_shows_progress_without_a_terminal(self):
        self.file("a.txt", "alpha\n")
        self.file("x.lua", script(ECHO + 'return { tool_calls = { { name = "file.read", arguments = { path = "a.txt" } } } }', 'tools = { "file" }'))
        done = self.moonlet("run", "./x.lua", "go", "--verbose")
        self.assertEqual(done.code, 0, done)
        self.assertRegex(done.err, r"step 1\b")
        self.assertRegex(done.err, r"file\.read a\.txt")
        self.assertNotIn("\x1b", done.err)
        self.assertEqual(self.moonlet("run", "./x.lua", "go").err, "")

    def test_second_signal_ends_at_once(self):
        self.file("x.lua", script('return { tool_calls = { { name = "shell", arguments = { command = "trap \'\' TERM; echo $$ > pid; while :; do sleep 1; done" } } } }', 'tools = { "shell" }'))
        process = self.start("run", "./x.lua", "go", "--yes", "-o", "new.md")
        path = os.path.join(self.work, "pid")
        end = time.monotonic() + 60
        while not (os.path.exists(path) and os.path.getsize(path)) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(process, timeout=30).code, 130)
        self.assertFalse(os.path.exists(os.path.join(self.work, "new.md")))
        with open(path, encoding="ascii") as pid:
            try:
                os.killpg(int(pid.read()), signal.SIGKILL)
            except ProcessLookupError:
                pass


class New(harness.Case):
    def test_agent_runs_unedited(self):
        done = self.moonlet("new", "agent", "helper")
        self.assertEqual(done.code, 0, done)
        self.assertIn("moonlet run ./helper.lua", done.out)
        done = self.moonlet("run", "./helper.lua", "what is in here?")
        self.assertEqual(done.code, 0, done)
        self.assertIn("file.list", done.out)
        done = self.moonlet("test")
        self.assertEqual((done.code, done.out.count("\nok ")), (0, 3), done)

    def test_nothing_is_overwritten(self):
        path = self.file("sub/helper.lua", "mine")
        done = self.moonlet("new", "agent", "helper", "sub")
        self.assertEqual(done.code, 1, done)
        self.assertIn("will not overwrite sub/helper.lua", done.err)
        self.file("thing/Makefile", "mine")
        done = self.moonlet("new", "tool", "thing")
        self.assertEqual(done.code, 1, done)
        self.assertEqual(os.listdir(os.path.join(self.work, "thing")), ["Makefile"])
        with open(path, encoding="ascii") as kept:
            self.assertEqual(kept.read(), "mine")

    def test_tool_project_is_whole(self):
        done = self.moonlet("new", "tool", "metrics")
        self.assertEqual(done.code, 0, done)
        names = os.listdir(os.path.join(self.work, "metrics"))
        self.assertLessEqual({"metrics.c", "Makefile", "CMakeLists.txt", "test.sh", "README.md"}, set(names))
        for name in names:
            with open(os.path.join(self.work, "metrics", name), encoding="utf-8") as file:
                self.assertNotIn("%N", file.read())
        self.assertTrue(os.access(os.path.join(self.work, "metrics", "test.sh"), os.X_OK))

    def test_tool_project_of_a_moonlet_that_is_not_installed_says_what_is_needed(self):
        done = self.moonlet("new", "tool", "metrics")
        self.assertIn(f"cmake --install {os.path.dirname(harness.binary())} --prefix $HOME/.local", done.out)
        self.assertRegex(done.out, r"(?m)^  make PKG_CONFIG_PATH=\$HOME/\.local/\S+/pkgconfig$")


class Doctor(harness.Case):
    def find(self, *args, **env):
        done = self.moonlet("doctor", "--json", *args, env=self.environment(**env))
        return done, {item["name"]: item for item in done.json()}

    def test_finds_what_is_here(self):
        done, found = self.find()
        self.assertEqual(done.code, 0, done)
        self.assertEqual(found["model"]["state"], "warn")
        self.assertIn("OPENAI_API_KEY", found["model"]["todo"])
        for name in ("openat2", "pidfd", "shipped agents", "scratch", "git", "libcurl"):
            self.assertEqual(found[name]["state"], "ok", found[name])

    def test_key_is_named_not_shown(self):
        done, found = self.find(OPENAI_API_KEY="sk-very-secret")
        self.assertIn("OPENAI_API_KEY", found["key"]["detail"])
        self.assertIn("openai/", found["model"]["detail"])
        self.assertNotIn("secret", done.out + done.err)

    def test_broken_things_are_exit_1(self):
        done, found = self.find("--model", "nosuch/model")
        self.assertEqual((done.code, found["model"]["state"]), (1, "missing"), done)
        done, found = self.find("--cwd", "none")
        self.assertEqual((done.code, found["workspace"]["state"]), (1, "missing"), done)
        self.assertIn("none: No such file", found["workspace"]["detail"])

    def test_configuration_that_is_broken_is_not_ok(self):
        """One finding per file: what is wrong with it, not "ok" beside a failure elsewhere; and the way out works."""
        for text in ("return {", 'return { policy = { shell = "allow" } }', "return { modle = 'x' }"):
            self.file(".moonlet/config.lua", text)
            done, found = self.find()
            self.assertEqual((done.code, found["project config"]["state"], found["user config"]["state"]), (1, "missing", "ok"), done)
            self.assertIn(".moonlet/config.lua", found["project config"]["detail"])
        self.assertIn('--config ""', found["project config"]["todo"])
        done, found = self.find("--config", "")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.moonlet("call", "file.list", "{}", "--config", "").code, 0)
        os.unlink(os.path.join(self.work, ".moonlet", "config.lua"))
        done, found = self.find("--config", "none.lua")
        self.assertEqual((done.code, found["user config"]["state"], found["project config"]["state"]), (1, "missing", "ok"), done)
        self.assertIn("none.lua", found["user config"]["detail"])

    def test_key_that_is_not_needed_is_no_warning(self):
        _, found = self.find("--model", "ollama/some")
        self.assertEqual((found["model"]["state"], found["key"]["state"]), ("ok", "ok"), found)

    def test_folder_of_agents_that_is_not_there(self):
        _, found = self.find(MOONLET_AGENTS="/nonexistent/agents")
        self.assertEqual(found["shipped agents"]["state"], "warn", found)

    def test_text(self):
        done = self.moonlet("doctor")
        self.assertEqual(done.code, 0, done)
        for line in done.out.splitlines():
            self.assertRegex(line, r"^(ok|warn|missing) |^ +-> ")


class Screen:
    """A run on a terminal of its own: what was written to it, and somebody who types. result None: standard output is the
    terminal too. With given, standard input is a pipe that holds it, and the terminal is the process's controlling one."""

    def __init__(self, case, *args, columns=80, env=None, result=subprocess.PIPE, model=None, given=None):
        self.case = case
        self.master, slave = pty.openpty()
        import fcntl
        import struct
        import termios
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        more = {} if given is None else {"preexec_fn": lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0)}
        self.process = case.start(*args, stdin=slave if given is None else subprocess.PIPE, stderr=slave, stdout=slave if result is None else result,
                                  env=case.environment(model, TERM="xterm-256color", **(env or {})), **more)
        if given is not None:
            self.process.stdin.write(given.encode())
            self.process.stdin.close()
        self.slave = slave
        self.seen = ""

    def read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.seen += os.read(self.master, 65536).decode("utf-8", "backslashreplace")
        return bool(ready)

    def wait_for(self, text, times=1, seconds=60):
        end = time.monotonic() + seconds
        while self.seen.count(text) < times:
            if time.monotonic() > end:
                self.case.fail(f"waited for {text!r}; the screen: {self.seen!r}")
            self.read(0.1)

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        import termios
        end = time.monotonic() + harness.PATIENCE
        while self.process.poll() is None:
            if time.monotonic() > end:
                self.case.fail(f"did not end; the screen: {self.seen!r}")
            self.read(0.05)
        while self.read(0.1):
            pass
        self.case.assertEqual(termios.tcgetattr(self.slave), self.before, "the terminal was left changed")
        out = self.process.stdout.read().decode() if self.process.stdout else ""
        os.close(self.slave)
        os.close(self.master)
        return self.process.returncode, out


class Terminal(harness.Case):
    WRITE = ECHO + 'return { tool_calls = { { name = "file.write", arguments = { path = "new.txt", content = "one\\ntwo\\n" } } } }'
    TWICE = """
local results = 0
for _, m in ipairs(request.messages) do if m.role == "tool" then results = results + 1 end end
if results == 2 then return "done: " .. request.messages[#request.messages].content end
return { tool_calls = { { name = "shell", arguments = { command = "echo run " .. results } } } }
"""

    def screen(self, body, *args, fields='tools = { "file", "shell" }', **options):
        self.file("x.lua", script(body, fields))
        return Screen(self, "run", "./x.lua", "go", *args, **options)

    def test_progress_shows_steps_calls_and_plan(self):
        self.file("a.txt", "alpha\n")
        screen = self.screen(
            'local n = #request.messages\n'
            'if n > 6 then return "finished" end\n'
            'if n > 3 then return { tool_calls = { { name = "file.read", arguments = { path = "a.txt" } }, { name = "file.read", arguments = { path = "none.txt" } } } } end\n'
            'return { tool_calls = { { name = "plan", arguments = { items = { { text = "look", state = "doing" }, { text = "write", state = "todo" } } } } } }',
            fields='plan = true, tools = { "file" }')
        code, out = screen.end()
        self.assertEqual((code, out), (0, "finished\n"), screen.seen)
        self.assertRegex(screen.seen, r"step 1\b")
        self.assertIn("look", screen.seen)
        self.assertIn("write", screen.seen)
        self.assertRegex(screen.seen, r"file\.read\x1b\[m a\.txt")
        self.assertRegex(screen.seen, r"file\.read\x1b\[m none\.txt.*does not exist")
        self.assertRegex(screen.seen, r"done.*3 steps, 3 tool calls")
        self.assertNotIn("finished", screen.seen)

    def test_lines_fit_a_narrow_terminal(self):
        self.file("a" * 100 + ".txt", "alpha\n")
        screen = self.screen(ECHO + 'return { tool_calls = { { name = "file.read", arguments = { path = string.rep("a", 100) .. ".txt" } } } }', columns=40)
        code, _ = screen.end()
        self.assertEqual(code, 0, screen.seen)
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[mK]", "", screen.seen)):
            if "file.read" in line or "step" in line:
                self.assertLessEqual(len(line), 40, line)

    def test_line_of_a_call_has_what_it_is_about_or_nothing(self):
        self.file("x.lua", script(ECHO + """return { tool_calls = {
            { name = "file.list", arguments = { summary = true, depth = 1, path = "." } },
            { name = "search", arguments = { path = ".", limit = 3, pattern = "alpha" } },
            { name = "file.read", arguments = { limit = 7, path = "a.txt" } } } }""", 'tools = { "file", "search" }'))
        self.file("a.txt", "alpha\n")
        done = self.moonlet("run", "./x.lua", "go", "--verbose")
        self.assertIn("✓ file.list  ", done.err)
        self.assertIn("search alpha  ", done.err)
        self.assertIn("file.read a.txt  ", done.err)

    def test_status_line_says_that_an_answer_comes_in(self):
        goes_on = threading.Event()
        self.file("x.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", tools = {} }')
        with MockModel([text("slowly, slowly", pause=goes_on)]) as model:
            screen = Screen(self, "run", "./x.lua", "go", "-m", "custom/mock", model=model)
            screen.wait_for("receiving the answer (7 bytes)")
            goes_on.set()
            code, out = screen.end()
        self.assertEqual((code, out), (0, "slowly, slowly\n"), screen.seen)

    def test_verbose_on_a_terminal_shows_the_answer_once(self):
        self.file("x.lua", script('return "the one answer"'))
        screen = Screen(self, "run", "./x.lua", "go", "-v", result=None)
        self.assertEqual(screen.end()[0], 0)
        self.assertEqual(screen.seen.count("the one answer"), 1, screen.seen)
        for args in (("-v",), ("-v", "--json")):  # what goes elsewhere is whole
            screen = Screen(self, "run", "./x.lua", "go", *args)
            code, out = screen.end()
            self.assertEqual((code, screen.seen.count("the one answer"), out.count("the one answer")), (0, 1, 1), screen.seen)
        screen = Screen(self, "run", "./x.lua", "go", "-v", "--json", result=None)
        self.assertEqual(screen.end()[0], 0)
        self.assertIn('"text":"the one answer"', screen.seen)

    def test_no_color_and_dumb(self):
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            with self.subTest(env):
                self.file("x.lua", script('return "ok"'))
                screen = Screen(self, "run", "./x.lua", "go", env={k: v for k, v in env.items() if k != "TERM"})
                if "TERM" in env:
                    screen.process.kill()
                    screen.end()
                    screen = DumbScreen(self, "run", "./x.lua", "go")
                code, _ = screen.end()
                self.assertEqual(code, 0)
                self.assertNotRegex(screen.seen, r"\x1b\[[0-9;]*m")
                if "TERM" in env:
                    self.assertNotIn("\x1b", screen.seen)

    def test_yes_once(self):
        screen = self.screen(self.WRITE)
        screen.wait_for("[n] no: ")
        self.assertIn("path: new.txt", screen.seen)
        self.assertIn("+ one", screen.seen)
        self.assertFalse(os.path.exists(os.path.join(self.work, "new.txt")))
        screen.type("what?\n")
        screen.wait_for("Please answer")
        screen.type("y\n")
        code, out = screen.end()
        self.assertEqual(code, 0, screen.seen)
        self.assertTrue(out.startswith("told:"), out)
        self.assertTrue(os.path.exists(os.path.join(self.work, "new.txt")))

    def test_an_answer_from_elsewhere_takes_the_question_away(self):
        screen = self.screen(self.TWICE)
        screen.wait_for("[n] no: ")
        run = json.loads(self.moonlet("runs", "--json").out)[0]["run"]
        self.moonlet("approve", run, "c1")
        screen.wait_for("That was answered elsewhere.")
        screen.wait_for("[n] no: ", 2)
        self.assertEqual(screen.seen.count("wants to run"), 2, screen.seen)
        screen.type("y\n")
        code, out = screen.end()
        self.assertEqual(code, 0, screen.seen)
        self.assertIn("run 1", out)

    def test_no_with_a_reason(self):
        screen = self.screen(self.WRITE)
        screen.wait_for("[n] no: ")
        screen.type("n\n")
        screen.wait_for("Why not?")
        screen.type("use docs/ instead\n")
        code, out = screen.end()
        self.assertEqual(code, 0, screen.seen)
        self.assertIn("use docs/ instead", out)
        self.assertFalse(os.path.exists(os.path.join(self.work, "new.txt")))

    def test_always_asks_once(self):
        screen = self.screen(self.TWICE)
        screen.wait_for("[n] no: ")
        screen.type("a\n")
        code, out = screen.end()
        self.assertEqual(code, 0, screen.seen)
        self.assertIn("run 1", out)
        self.assertEqual(screen.seen.count("wants to run"), 1)

    def test_end_of_input_is_no(self):
        screen = self.screen(self.WRITE)
        screen.wait_for("[n] no: ")
        screen.type("\x04")
        code, out = screen.end()
        self.assertEqual(code, 0, screen.seen)
        self.assertIn("refused: the user ended the input", out)
        self.assertIn("The input has ended: that is a no", screen.seen)
        self.assertFalse(os.path.exists(os.path.join(self.work, "new.txt")))

    def test_an_edit_is_asked_about_as_lines_that_go_and_come(self):
        self.file("a.txt", "alpha\n")
        screen = self.screen(ECHO + 'return { tool_calls = { { name = "file.edit", arguments = { new = "beta", old = "alpha", path = "a.txt" } } } }')
        screen.wait_for("[n] no: ")
        self.assertRegex(screen.seen, r"path: a\.txt\s+old:\s+- alpha\s+new:\s+\+ beta\s")
        self.assertNotIn("[v]", screen.seen)
        screen.type("y\n")
        self.assertEqual(screen.end()[0], 0, screen.seen)

    def test_what_was_cut_can_be_viewed(self):
        screen = self.screen(ECHO + 'local lines = {}\nfor i = 1, 60 do lines[i] = "line " .. i end\n'
                             'return { tool_calls = { { name = "file.write", arguments = { content = table.concat(lines, "\\n"), path = "new.txt" } } } }')
        screen.wait_for("[n] no, [v] view all: ")
        self.assertRegex(screen.seen, r"path: new\.txt\s+content:\s+\+ line 1\s")
        self.assertRegex(screen.seen, r"line 40\s+\(\d+ more bytes are not shown\)")
        self.assertNotIn("line 41", screen.seen)
        screen.type("v\n")
        screen.wait_for("[n] no: ")
        self.assertIn("+ line 60", screen.seen)
        screen.type("y\n")
        self.assertEqual(screen.end()[0], 0, screen.seen)

    def test_input_from_a_pipe_leaves_the_terminal_to_ask_on(self):
        self.file("x.lua", script(self.WRITE, 'tools = { "file" }'))
        screen = Screen(self, "run", "./x.lua", "-", given="the task")
        screen.wait_for("[n] no: ")
        screen.type("y\n")
        code, out = screen.end()
        self.assertEqual(code, 0, screen.seen)
        self.assertTrue(os.path.exists(os.path.join(self.work, "new.txt")))
        screen = Screen(self, "call", "shell", "-", given='{"command":"echo hi"}')
        screen.wait_for("[n] no: ")
        screen.type("y\n")
        self.assertEqual(screen.end(), (0, "hi\n[exit 0]\n"), screen.seen)

    def test_pipe_that_is_not_read_is_nobody_to_ask(self):
        self.file("x.lua", script(self.WRITE, 'tools = { "file" }'))
        screen = Screen(self, "run", "./x.lua", "go", given="")
        self.assertEqual(screen.end()[0], 4, screen.seen)

    def test_ctrl_c_at_the_question(self):
        screen = self.screen(self.WRITE, "--json")
        screen.wait_for("[n] no: ")
        screen.process.send_signal(signal.SIGINT)
        code, out = screen.end()
        self.assertEqual((code, json.loads(out)["stop_reason"]), (130, "interrupted"), screen.seen)

    def test_hostile_arguments_are_shown_safely(self):
        screen = self.screen(ECHO + 'return { tool_calls = { { name = "shell", arguments = { command = "echo \\27]0;owned\\7 \\27[2J\\r\\u{202e} x" } } } }')
        screen.wait_for("[n] no: ")
        self.assertNotIn("\x1b]0", screen.seen)
        self.assertNotIn("\x1b[2J", screen.seen)
        self.assertNotIn("\u202e", screen.seen)
        self.assertIn("<U+001B>", screen.seen)
        screen.type("n\n\n")
        screen.wait_for("Why not?")
        screen.type("\n")
        code, _ = screen.end()
        self.assertEqual(code, 0, screen.seen)

    def test_policy_ask_stands_against_yes(self):
        screen = self.screen(self.WRITE, "--yes", "--policy", "file.write=ask")
        screen.wait_for("[n] no: ")
        screen.type("y\n")
        self.assertEqual(screen.end()[0], 0, screen.seen)


class DumbScreen(Screen):
    def __init__(self, case, *args):
        case.env["TERM"] = "dumb"
        super().__init__(_Dumb(case), *args)
        self.case = case


class _Dumb:
    """A case whose environment keeps TERM=dumb."""

    def __init__(self, case):
        self.case = case

    def start(self, *args, **options):
        options["env"] = dict(options["env"], TERM="dumb")
        return self.case.start(*args, **options)

    def environment(self, model, **more):
        return self.case.environment(model, **more)


if __name__ == "__main__":
    harness.main()
