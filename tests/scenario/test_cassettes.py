# SPDX-License-Identifier: MIT
"""Recorded answers of models: recorded against a server, played without one."""
import json
import os
import select
import socket
import threading

import harness
from mock_model import MockModel, calls, failure, text


class Cassettes(harness.Case):
    def setUp(self):
        super().setUp()
        self.tape = os.path.join(self.dir, "tape")

    def files(self):
        return sorted(name for name in os.listdir(self.tape) if not name.startswith("."))

    def recordings(self):
        found = {}
        for name in self.files():
            with open(os.path.join(self.tape, name), encoding="utf-8") as file:
                found[name] = json.load(file)
        return found

    def record(self, script, agent, *args, code=0, env=None):
        with MockModel(script) as model:
            done = self.moonlet("run", agent, *args, "-m", "custom/mock", "--record", self.tape, "--json", env=self.environment(model, **(env or {})))
        self.assertEqual(done.code, code, done)
        return done.json(), model

    def play(self, agent, *args, code=0, env=None):
        """Without a server, an address or a key."""
        done = self.moonlet("run", agent, *args, "-m", "custom/mock", "--cassette", self.tape, "--json", env=self.environment(**(env or {})))
        self.assertEqual(done.code, code, done)
        return done.json()

    def assert_miss(self, out, *words):
        self.assertEqual((out["stop_reason"], out["exit_code"]), ("cassette_miss", 2))
        for word in words:
            self.assertIn(word, out["error"])

    def same(self, one, other):
        for member in ("text", "usage", "stop_reason"):
            self.assertEqual(one[member], other[member])


class Recorded(Cassettes):
    def test_a_run_is_played_without_a_server(self):
        for fields in ("", "stream = false,"):
            with self.subTest(fields):
                self.tape = os.path.join(self.dir, "tape" + str(len(fields)))
                self.file("a.txt", "content of a")
                agent = self.agent(fields)
                script = [calls(("file.read", {"path": "a.txt"}), usage=(100, 20, 30)), text("it says content", usage=(200, 7))]
                first, model = self.record(script, agent, "go")
                self.assertEqual(len(model.requests), 2)
                again = self.play(agent, "go")
                self.same(first, again)
                self.assertEqual(again["usage"]["input_tokens"], 300)
                self.assertEqual([r["path"] for r in self.recordings().values()], ["", ""])

    def test_nothing_is_connected_to(self):
        agent = self.agent()
        self.record([text("yes")], agent, "go")
        with socket.socket() as trap:
            trap.bind(("127.0.0.1", 0))
            trap.listen()
            out = self.play(agent, "go", env={"MOONLET_BASE_URL": f"http://127.0.0.1:{trap.getsockname()[1]}/v1"})
            self.assertEqual(out["text"], "yes")
            self.play(agent, "another", code=2, env={"MOONLET_BASE_URL": f"http://127.0.0.1:{trap.getsockname()[1]}/v1"})
            self.assertEqual(select.select([trap], [], [], 0)[0], [])

    def test_no_key_is_needed(self):
        agent = self.agent()
        self.record([text("yes")], agent, "go")
        for name in self.files():
            path = os.path.join(self.tape, name)
            with open(path, encoding="utf-8") as file:
                content = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(content.replace("custom/mock", "openai/gpt-5-mini"))
        done = self.moonlet("run", agent, "go", "--cassette", self.tape)  # nor has a model to be named
        self.assertEqual((done.code, done.out), (0, "yes\n"), done)
        done = self.moonlet("run", agent, "go", "-m", "openai", "--cassette", self.tape)
        self.assertEqual((done.code, done.out), (0, "yes\n"), done)

    def test_the_environment_names_a_cassette(self):
        agent = self.agent()
        self.record([text("yes")], agent, "go")
        done = self.moonlet("run", agent, "go", env=self.environment(MOONLET_CASSETTE=self.tape))
        self.assertEqual((done.code, done.out), (0, "yes\n"), done)
        for command in (("runs",), ("tools",), ("doctor",)):  # which ask no model
            done = self.moonlet(*command, env=self.environment(MOONLET_CASSETTE="/nowhere"))
            self.assertNotIn("nowhere", done.err, done)

    def test_deltas_of_a_recorded_answer(self):
        agent = self.agent()
        self.record([text("streamed in pieces", reasoning="hm")], agent, "go")
        done = self.moonlet("run", agent, "go", "--cassette", self.tape, "--output", "stream-json")
        deltas = [event["body"] for event in done.events("model.delta")]
        self.assertEqual(deltas, [{"kind": "reasoning", "text": "hm"}, {"kind": "text", "text": "streamed in pieces"}])

    def test_a_scripted_model(self):
        agent = self.agent()
        model = self.file("model.lua", 'local moon = require "moonlet"\nreturn moon.model.script { "said once" }\n')
        done = self.moonlet("run", agent, "go", "-m", model, "--record", self.tape)
        self.assertEqual((done.code, done.out), (0, "said once\n"), done)
        os.makedirs(os.path.join(self.dir, "elsewhere"))
        moved = os.path.join(self.dir, "elsewhere", "model.lua")
        with open(moved, "w", encoding="utf-8") as file:
            file.write('local moon = require "moonlet"\nreturn moon.model.script(function() error "asked" end)\n')
        done = self.moonlet("run", agent, "go", "-m", moved, "--cassette", self.tape)
        self.assertEqual((done.code, done.out), (0, "said once\n"), done)

    def test_recording_again_asks_only_what_is_missing(self):
        agent = self.agent()
        self.record([text("one")], agent, "first")
        before = self.recordings()
        out, _ = self.record([], agent, "first")
        self.assertEqual(out["text"], "one")
        self.record([text("two")], agent, "second")
        after = self.recordings()
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertEqual(len(after), 2)
        self.assertEqual(self.play(agent, "second")["text"], "two")

    def test_failures_are_not_recorded(self):
        agent = self.agent()
        self.record([failure(400, "no")], agent, "go", code=6)
        self.assertEqual(self.files(), [])
        out, model = self.record([failure(500, Retry_After_Ms="5"), text("yes")], agent, "go")
        self.assertEqual(len(model.requests), 2)
        self.assertEqual(self.play(agent, "go")["text"], "yes")

    def test_the_workspace_may_lie_elsewhere(self):
        agent = self.agent(tools='"file", "shell"')
        script = [calls(("shell", {"command": "pwd"})), lambda request: text("in " + list(request.results().values())[0].split()[0])]
        first, _ = self.record(script, agent, "go", "--yes")
        self.assertIn(self.work, first["text"])
        for recording in self.recordings().values():
            self.assertNotIn(self.work, json.dumps(recording))
        other = os.path.join(self.dir, "other")
        os.rename(self.work, other)
        os.mkdir(self.work)
        done = self.moonlet("run", agent.replace(self.work, other), "go", "--yes", "--cassette", self.tape, cwd=other)
        self.assertEqual((done.code, done.out), (0, first["text"].replace(self.work, other) + "\n"), done)

    def test_recordings_are_for_people_and_for_diffs(self):
        self.record([text("yes")], self.agent(tools='"search"'), "go")
        (name,) = self.files()
        self.assertRegex(name, r"^root-001-[0-9a-f]{16}\.json$")
        with open(os.path.join(self.tape, name), encoding="utf-8") as file:
            lines = file.read().split("\n")
        self.assertEqual(lines[:4], ["{", '  "cassette": 1,', '  "path": "",', '  "agent": "probe",'])
        self.assertIn('      "text": "go"', lines)
        self.assertEqual(lines[-1], "")


class Secrets(Cassettes):
    def test_no_secret_is_recorded(self):
        self.file("env.txt", "TOKEN=ghp_0123456789abcdefghij0123456789abcdef\nKEY=sk-very-secret\n")
        agent = self.agent()
        script = [calls(("file.read", {"path": "env.txt"})), text("the key is sk-very-secret")]
        out, model = self.record(script, agent, "go", env={"MOONLET_API_KEY": "sk-very-secret"})
        self.assertEqual(out["text"], "the key is sk-very-secret")
        self.assertEqual(model.requests[0].headers["Authorization"], "Bearer sk-very-secret")
        for name in self.files():
            with open(os.path.join(self.tape, name), "rb") as file:
                content = file.read()
            for word in (b"sk-very-secret", b"ghp_0", b"Bearer", b"Authorization", b"127.0.0.1"):
                self.assertNotIn(word, content)
        again = self.play(agent, "go", env={"MOONLET_API_KEY": "sk-very-secret"})
        self.assertEqual(again["text"], "the key is ***")


class Lanes(Cassettes):
    BODY = """
local asker = moon.agent { name = "asker", instructions = "Answer.", tools = {} }
local ask = moon.tool {
  name = "ask", description = "Asks.", params = { who = "string" }, effects = { read_only = true },
  call = function(args) return assert(asker:run("the same question")) end,
}
"""

    def script(self, request):
        system = request.messages[0]["content"]
        if system == "Answer.":
            with self.lock:
                self.answered += 1
                return text(f"answer {self.answered}")
        results = request.results()
        if not results:
            return calls(*[("ask", {"who": str(i)}, f"call_{i}") for i in range(6)])
        return text(" ".join(results.values()))

    def test_branches_get_their_own_answers(self):
        self.lock, self.answered = threading.Lock(), 0
        agent = self.agent(tools="ask", body=self.BODY)
        first, _ = self.record(self.script, agent, "go")
        self.assertEqual(sorted(first["text"].replace("answer ", "").split()), list("123456"))
        self.assertEqual(len({r["path"] for r in self.recordings().values()}), 7)
        for _ in range(3):
            self.same(first, self.play(agent, "go"))

    def test_processes_record_into_one_folder(self):
        agent = self.agent()
        with MockModel(lambda request: text("to " + request.messages[-1]["content"])) as model:
            env = self.environment(model)
            # Some ask the same, so that they want the same names.
            runs = [self.start("run", agent, f"question {i % 4}", "-m", "custom/mock", "--record", self.tape, env=env) for i in range(12)]
            for i, run in enumerate(runs):
                done = self.finish(run)
                self.assertEqual((done.code, done.out), (0, f"to question {i % 4}\n"), done)
        self.assertEqual([name for name in os.listdir(self.tape) if name.startswith(".")], [])
        self.assertGreaterEqual(len(self.recordings()), 4)
        for i in range(4):
            self.assertEqual(self.play(agent, f"question {i}")["text"], f"to question {i}")


class Misses(Cassettes):
    def test_another_input(self):
        agent = self.agent()
        self.record([text("yes")], agent, "fix the parser")
        out = self.play(agent, "fix the lexer", code=2)
        self.assert_miss(out, "root-001-", 'message 2 (user): recorded "fix the parser", now "fix the lexer"')

    def test_another_tool_schema(self):
        tool = """
local t = moon.tool { name = "count", description = "Counts.", params = { text = "string" }, effects = { read_only = true },
  call = function() return "1" end }
"""
        agent = self.agent(tools="t", body=tool)
        self.record([text("yes")], agent, "go")
        self.agent(tools="t", body=tool.replace("text =", "word ="))
        self.assert_miss(self.play(agent, "go", code=2), "parameters of tool count: recorded ", '"text"', '"word"')
        self.agent(tools='t, "search"', body=tool)
        self.assert_miss(self.play(agent, "go", code=2), "tool search was not there")
        self.agent("temperature = 0.5,", tools="t", body=tool)
        self.assert_miss(self.play(agent, "go", code=2), "temperature")

    def test_another_model(self):
        agent = self.agent()
        self.record([text("yes")], agent, "go")
        done = self.moonlet("run", agent, "go", "-m", "nobody/knows", "--cassette", self.tape, "--json")
        self.assert_miss(done.json(), 'model: recorded "custom/mock", now "nobody/knows"')

    def test_a_miss_is_not_made_good_by_the_script(self):
        script = self.file(".agents/two.lua", """
local moon = require "moonlet"
local one = moon.agent { name = "one", instructions = "One.", tools = {} }
return function(input)
  local answer = one:run(input)
  return answer or "a way round"
end
""")
        self.record([text("yes")], script, "go")
        out = self.play(script, "other", code=2)
        self.assert_miss(out, 'path "1"')
        self.assertEqual(out["text"], "")

    def test_a_miss_can_be_recorded_and_gone_on_with(self):
        self.file("a.txt", "a")
        agent = self.agent()
        self.record([calls(("file.read", {"path": "a.txt"})), text("one")], agent, "go")
        for name, recording in self.recordings().items():
            if recording["step"] == 2:
                os.unlink(os.path.join(self.tape, name))
        out = self.play(agent, "go", code=2)
        self.assert_miss(out, "no recording of request 2", "its conversation ends there")
        with MockModel([text("two")]) as model:
            done = self.moonlet("resume", out["run"], "--record", self.tape, env=self.environment(model))
        self.assertEqual((done.code, done.out), (0, "two\n"), done)
        self.assertEqual(len(self.recordings()), 2)
        self.assertEqual(self.play(agent, "go")["text"], "two")


class Chains(Cassettes):
    """Branches that are cancelled leave requests without an answer, which nobody needs when they are played."""

    def two(self, chain):
        return self.file(".agents/two.lua", f"""
local moon = require "moonlet"
local chain = moon.chain
local fast = moon.agent {{ name = "fast", instructions = "Fast.", tools = {{}} }}
local slow = moon.agent {{ name = "slow", instructions = "Slow.", tools = {{}} }}
return {chain}
""")

    def record_two(self, chain):
        """The slow one never answers."""
        never = threading.Event()
        agent = self.two(chain)
        out, _ = self.record(lambda request: text("slow", pause=never) if request.messages[0]["content"] == "Slow." else text("fast"), agent, "go")
        return agent, out

    def test_who_loses_a_race(self):
        for chain in ("chain.race { fast, slow }", "chain.race { slow, fast }"):
            with self.subTest(chain):
                self.tape = os.path.join(self.dir, chain[13:17])
                agent, first = self.record_two(chain)
                self.assertIn("fast", first["text"])
                self.same(first, self.play(agent, "go"))

    def test_who_was_late_is_late_at_once(self):
        agent, first = self.record_two("chain.fallback { chain.timeout(slow, { seconds = 1 }), fast }")
        self.assertEqual(first["text"], "fast")
        self.assertEqual([r["answer"] for r in self.recordings().values() if r["agent"] == "slow"], [None])
        self.same(first, self.play(agent, "go"))
        agent = self.two("chain.fallback { chain.timeout(slow, { seconds = 1000 }), fast }")
        again = self.play(agent, "go")
        self.same(first, again)
        self.assertLess(again["wall_ms"], 100000)
        # Who was cancelled because of it was not late, and is not needed.
        self.tape += "2"
        agent, first = self.record_two("chain.fallback { chain.all { chain.timeout(slow, { seconds = 1 }), slow }, fast }")
        self.same(first, self.play(agent, "go"))
        agent = self.two("chain.seq { slow }")  # there is nothing that would end it
        self.assert_miss(self.play(agent, "go", code=2))

    def test_a_fallback_does_not_hide_a_miss(self):
        agent = self.two("chain.fallback { fast, chain.retry(fast, { times = 3 }), function() return \"made good\" end }")
        self.record([text("yes")], agent, "go")
        out = self.play(agent, "other", code=2)
        self.assert_miss(out, 'now "other"')

    def test_votes(self):
        agent = self.two("chain.all { fast, fast, fast }")
        self.answers = iter("abc")
        first, _ = self.record(lambda request: text(next(self.answers)), agent, "go")
        for _ in range(3):
            self.same(first, self.play(agent, "go"))


class Journal(Cassettes):
    def test_a_run_that_is_resumed_while_recording(self):
        self.file("a.txt", "a")
        agent = self.agent()
        out, _ = self.record([calls(("file.read", {"path": "a.txt"}))], agent, "go", "--limit", "steps=1", code=3)
        with MockModel([text("done")]) as model:
            done = self.moonlet("resume", out["run"], "--limit", "steps=9", "--record", self.tape, env=self.environment(model))
        self.assertEqual((done.code, done.out), (0, "done\n"), done)
        second = [r for r in self.recordings().values() if r["step"] == 2]
        self.assertIn("after", second[0])  # it goes on with what the first process recorded
        self.assertEqual(self.play(agent, "go")["text"], "done")

    def test_a_played_run_is_resumed_and_replayed(self):
        self.file("a.txt", "a")
        agent = self.agent()
        self.record([calls(("file.read", {"path": "a.txt"})), text("done")], agent, "go")
        out = self.play(agent, "go", "--limit", "steps=1", code=3)
        done = self.moonlet("resume", out["run"], "--limit", "steps=9", "--cassette", self.tape)
        self.assertEqual((done.code, done.out), (0, "done\n"), done)
        done = self.moonlet("replay", out["run"], env=self.environment(MOONLET_CASSETTE="/nowhere", MOONLET_BASE_URL="http://127.0.0.1:1/v1"))
        self.assertEqual((done.code, done.out), (0, "done\n"), done)

    def test_a_conversation_that_goes_on(self):
        agent = self.agent()
        self.record([text("one")], agent, "first")
        with MockModel([text("two")]) as model:
            done = self.moonlet("run", "--continue", "second", "--record", self.tape, env=self.environment(model))
        self.assertEqual((done.code, done.out), (0, "two\n"), done)
        self.play(agent, "first")
        done = self.moonlet("run", "--continue", "second", "--cassette", self.tape)
        self.assertEqual((done.code, done.out), (0, "two\n"), done)


class Usage(Cassettes):
    def test_wrong_arguments(self):
        agent = self.agent()
        for args, word in (
            (("--cassette", self.tape, "--record", self.tape), "exclude each other"),
            (("--cassette", ""), "name it"),
            (("--cassette", self.tape), "--record"),  # there is none
        ):
            with self.subTest(args):
                done = self.moonlet("run", agent, "go", *args)
                self.assertEqual(done.code, 2, done)
                self.assertIn(word, done.err)

    def test_a_folder_with_something_else(self):
        agent = self.agent()
        os.mkdir(self.tape)
        with open(os.path.join(self.tape, "package.json"), "w", encoding="utf-8") as file:
            file.write('{"name": "x"}')
        done = self.moonlet("run", agent, "go", "--cassette", self.tape)
        self.assertIn("package.json", done.err)
        self.assertNotEqual(done.code, 0, done)

    def test_a_folder_that_cannot_be_made(self):
        agent = self.agent()
        self.file("taken", "a file")
        done = self.moonlet("run", agent, "go", "--record", os.path.join(self.work, "taken", "tape"))
        self.assertNotEqual(done.code, 0, done)
        self.assertIn("taken", done.err)


if __name__ == "__main__":
    harness.main()
