# SPDX-License-Identifier: MIT
"""The agent's loop, seen from outside: what is asked of the model, what the model is told, how runs end."""
import json
import os
import pty
import signal
import threading
import time

import harness
from mock_model import MockModel, calls, text


def tell(request, number=-1):
    """The content of a tool message of a request, the last one unless told otherwise."""
    return [m["content"] for m in request.messages if m["role"] == "tool"][number]


class Turns(harness.Case):
    def test_answer_without_calls_is_one_request(self):
        with MockModel([text("All is well.")]) as model:
            done, out = self.run_agent(model, self.agent(), "how is it?")
        self.assertEqual((done.code, out["stop_reason"], out["text"], out["exit_code"]), (0, "done", "All is well.", 0))
        self.assertIsNone(out["error"])
        roles = [m["role"] for m in model.requests[0].messages]
        self.assertEqual(roles, ["system", "user"])
        self.assertEqual(model.requests[0].messages[1]["content"], "how is it?")
        self.assertIn("Do as you are told.", model.requests[0].messages[0]["content"])
        self.assertEqual(model.requests[0].json["model"], "mock")

    def test_text_goes_to_stdout_alone(self):
        with MockModel([text("Just this.")]) as model:
            done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", env=self.environment(model))
        self.assertEqual((done.code, done.out), (0, "Just this.\n"), done)

    def test_result_per_call_in_call_order(self):
        self.file("a.txt", "alpha\n")
        self.file("b.txt", "beta\n")
        wanted = [("file.read", {"path": "b.txt"}, "x1"), ("search", {"pattern": "alpha"}, "x2"), ("file.read", {"path": "a.txt"}, "x3")]
        with MockModel([calls(*wanted, content="Looking."), text("done")]) as model:
            done, out = self.run_agent(model, self.agent(), "read")
        self.assertEqual(done.code, 0, done)
        said, *results = model.requests[1].messages[2:]
        self.assertEqual(said["content"], "Looking.")
        self.assertEqual([call["function"]["name"] for call in said["tool_calls"]], ["file_read", "search", "file_read"])
        self.assertEqual([m["tool_call_id"] for m in results], ["x1", "x2", "x3"])
        self.assertIn("beta", results[0]["content"])
        self.assertIn("a.txt", results[1]["content"])
        self.assertIn("     1\talpha", results[2]["content"])
        self.assertEqual(out["usage"]["tool_calls"], 3)

    def test_prefix_of_the_conversation_stays_byte_stable(self):
        self.file("a.txt", "alpha\n")
        with MockModel([calls(("file.read", {"path": "a.txt"})), calls(("search", {"pattern": "x"})), text("done")]) as model:
            self.run_agent(model, self.agent(), "go")
        for before, after in zip(model.requests, model.requests[1:]):
            same = os.path.commonprefix([before.raw, after.raw])
            last = json.dumps(before.messages[-1]["content"])[1:-1].encode()
            self.assertIn(last, same, "what was sent before is sent again as it was")

    def test_streamed_answer_cut_anywhere_is_the_same(self):
        for size in (1, 3, 17, 4096):
            with self.subTest(cut=size):
                self.file("a.txt", "alpha\n")
                script = [calls(("file.read", {"path": "a.txt"}), cut=size), text("Grüße – 日本 🌙", cut=size)]
                with MockModel(script) as model:
                    done, out = self.run_agent(model, self.agent(), "go")
                self.assertEqual((done.code, out["text"]), (0, "Grüße – 日本 🌙"), done)
                self.assertIn("alpha", tell(model.requests[1]))

    def test_tools_offered_are_those_of_the_agent(self):
        with MockModel([text("ok")]) as model:
            self.run_agent(model, self.agent(tools='"file.read", "git"'), "go")
        names = model.requests[0].tool_names()
        self.assertIn("file_read", names)
        self.assertIn("git_log", names)
        self.assertNotIn("shell", names)
        self.assertNotIn("file_write", names)

    def test_tools_default_to_those_that_only_read(self):
        script = self.file("d.lua", 'return require("moonlet").agent { name = "d", instructions = "x" }')
        with MockModel([text("ok")]) as model:
            self.run_agent(model, script, "go")
        names = set(model.requests[0].tool_names())
        self.assertLessEqual({"file_read", "file_list", "search", "git_log"}, names)
        self.assertFalse({"file_write", "file_edit", "shell", "git_commit"} & names)

    def test_tool_of_the_script_is_called(self):
        body = ('local wc = moon.tool { name = "word_count", description = "Counts words.", params = { text = "string" },'
                ' effects = { read_only = true },'
                ' call = function(args) local n = 0; for _ in args.text:gmatch("%S+") do n = n + 1 end; return { words = n } end }')
        with MockModel([calls(("word_count", {"text": "one two three"})), text("3")]) as model:
            done, _ = self.run_agent(model, self.agent(tools="wc", body=body), "go")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(json.loads(tell(model.requests[1])), {"words": 3})


class Order(harness.Case):
    def events_of(self, wanted, **options):
        with MockModel([calls(*wanted), text("done")]) as model:
            done = self.moonlet("run", self.agent(tools='"file", "search", "shell"', **options), "go", "--yes", "-m", "custom/mock",
                                "--output", "stream-json", env=self.environment(model))
        self.assertEqual(done.code, 0, done)
        return [(e["type"], e["body"]["call"]) for e in done.events() if e["type"] in ("tool.intent", "tool.result")]

    def test_reading_calls_run_side_by_side(self):
        self.file("a.txt", "a\n")
        order = self.events_of([("file.read", {"path": "a.txt"}), ("search", {"pattern": "a"}), ("file.list", {})])
        self.assertEqual([kind for kind, _ in order], ["tool.intent"] * 3 + ["tool.result"] * 3)
        self.assertEqual({call for _, call in order[:3]}, {call for _, call in order[3:]})

    def test_cap_on_side_by_side(self):
        self.file("a.txt", "a\n")
        order = self.events_of([("file.read", {"path": "a.txt", "offset": 1, "limit": n + 1}) for n in range(5)], text="parallel = 2,")
        running = most = 0
        for kind, _ in order:
            running += 1 if kind == "tool.intent" else -1
            most = max(most, running)
        self.assertEqual(most, 2)

    def test_changing_calls_run_alone_and_in_order(self):
        self.file("a.txt", "a\n")
        order = self.events_of([("file.read", {"path": "a.txt"}), ("file.write", {"path": "b.txt", "content": "1"}),
                                ("shell", {"command": "cp b.txt c.txt && printf 2 >> c.txt"}), ("file.read", {"path": "c.txt"})])
        for index in range(0, 8, 2):
            self.assertEqual((order[index][0], order[index + 1][0]), ("tool.intent", "tool.result"), order)
            self.assertEqual(order[index][1], order[index + 1][1])
        with open(os.path.join(self.work, "c.txt"), encoding="utf-8") as made:
            self.assertEqual(made.read(), "12")


class Mistakes(harness.Case):
    def told(self, call, *more, tools='"file", "search"'):
        """What the model is told about a call; the run must go on."""
        with MockModel([calls(call, *more), text("sorry")]) as model:
            done, out = self.run_agent(model, self.agent(tools=tools), "go")
        self.assertEqual((done.code, out["text"]), (0, "sorry"), done)
        return [m["content"] for m in model.requests[1].messages if m["role"] == "tool"]

    def test_arguments_that_are_no_json(self):
        for arguments in ('{"path": ', "path=a", '{"path": "a"} and more', '{"path": "\\q"}', "[1,", "\x01"):
            with self.subTest(arguments):
                self.assertIn("JSON", self.told(("file.read", arguments))[0])

    def test_arguments_that_do_not_fit_say_what_does(self):
        self.assertIn("path", self.told(("file.read", {}))[0])
        self.assertIn("path", self.told(("file.read", {"pth": "a"}))[0])
        self.assertRegex(self.told(("file.read", {"path": 7}))[0], "(?i)string")
        self.assertRegex(self.told(("file.read", '["a"]'))[0], "(?i)object")

    def test_empty_arguments_are_an_empty_object(self):
        self.file("a.txt", "a\n")
        self.assertIn("a.txt", self.told(("file.list", ""))[0])

    def test_unknown_tool_names_the_nearest(self):
        self.assertIn("file.read", self.told(("file.raed", {"path": "a"}))[0])

    def test_tool_that_the_agent_does_not_have_is_unknown(self):
        told = self.told(("file.write", {"path": "a", "content": "x"}), tools='"file.read"')
        self.assertRegex(told[0], "no tool named .file.write")
        self.assertFalse(os.path.exists(os.path.join(self.work, "a")))

    def test_sound_calls_beside_a_malformed_one_run(self):
        self.file("a.txt", "alpha\n")
        told = self.told(("file.read", {"pth": 1}), ("file.read", {"path": "a.txt"}))
        self.assertIn("alpha", told[1])

    def test_malformed_without_end_ends_the_run(self):
        with MockModel(lambda request: calls(("file.read", {"wrong": len(request.messages)}))) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["stop_reason"]), (3, "malformed_calls"), done)
        self.assertLessEqual(len(model.requests), 16)

    def test_tool_that_fails_is_a_result(self):
        self.assertRegex(self.told(("file.read", {"path": "none.txt"}))[0], "none.txt")

    def test_nul_in_a_result_is_a_replacement(self):
        """Three times, so that the result is also compared with those before it."""
        wanted = ("shell", {"command": r"printf 'a\0bcd'"})
        with MockModel([calls(wanted), calls(wanted), calls(wanted), text("ok")]) as model:
            done = self.moonlet("run", self.agent(tools='"shell"'), "go", "-m", "custom/mock", "--yes", "--output", "stream-json",
                                env=self.environment(model))
        self.assertEqual(done.code, 0, done)
        for request in model.requests[1:]:
            self.assertTrue(tell(request).startswith("a\ufffdbcd\n[exit 0]\n"), tell(request))
            self.assertNotIn(rb"\u0000", request.raw)
        for event in done.events("tool.result"):
            self.assertTrue(event["body"]["text"].startswith("a\ufffdbcd\n"), event)

    def test_path_outside_is_refused(self):
        with open(os.path.join(self.dir, "secret"), "w", encoding="utf-8") as out:
            out.write("the secret\n")
        os.symlink("../secret", os.path.join(self.work, "link"))
        for path in ("../secret", os.path.join(self.dir, "secret"), "link", "/etc/passwd", "a/../../secret", "/proc/self/environ"):
            with self.subTest(path):
                told = self.told(("file.read", {"path": path}))[0]
                self.assertNotIn("the secret", told)
                self.assertNotIn("root:", told)


class Repeats(harness.Case):
    def test_third_is_told_fourth_ends(self):
        self.file("a.txt", "alpha\n")
        with MockModel([calls(("file.read", {"path": "a.txt"}))] * 4) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["stop_reason"]), (3, "repeated_call"), done)
        self.assertEqual(tell(model.requests[1]), tell(model.requests[2]))
        self.assertIn("third time", tell(model.requests[3]))
        self.assertEqual(out["usage"]["tool_calls"], 4)

    def test_order_and_space_of_arguments_make_no_difference(self):
        self.file("a.txt", "alpha\n")
        forms = ['{"path":"a.txt","limit":5}', '{"limit":5,"path":"a.txt"}', '{ "path" : "a.txt", "limit" : 5 }']
        with MockModel([calls(("file.read", form)) for form in forms + forms[:1]]) as model:
            _, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual(out["stop_reason"], "repeated_call")

    def test_another_call_between_starts_anew(self):
        self.file("a.txt", "alpha\n")
        read, other = calls(("file.read", {"path": "a.txt"})), calls(("file.list", {}))
        with MockModel([read, read, other, read, read, text("fine")]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["text"]), (0, "fine"), done)

    def test_same_call_with_another_result_is_no_repeat(self):
        body = ('local n = 0\nlocal tick = moon.tool { name = "tick", description = "Counts.", params = {}, effects = { read_only = true },'
                ' call = function() n = n + 1; return tostring(n) end }')
        with MockModel([calls(("tick", {}))] * 6 + [text("fine")]) as model:
            done, out = self.run_agent(model, self.agent(tools="tick", body=body), "go")
        self.assertEqual((done.code, out["text"]), (0, "fine"), done)


class FinishReasons(harness.Case):
    def test_calls_count_whatever_the_reason(self):
        self.file("a.txt", "alpha\n")
        for reason in ("stop", "length", "weird", ""):
            with self.subTest(reason):
                with MockModel([calls(("file.read", {"path": "a.txt"}), finish=reason), text("done")]) as model:
                    done, out = self.run_agent(model, self.agent(), "go")
                self.assertEqual((done.code, out["text"]), (0, "done"), done)
                self.assertIn("alpha", tell(model.requests[1]))

    def test_text_counts_whatever_the_reason(self):
        for reason in ("tool_calls", "weird"):
            with self.subTest(reason):
                with MockModel([text("the answer", finish=reason)]) as model:
                    done, out = self.run_agent(model, self.agent(), "go")
                self.assertEqual((done.code, out["text"]), (0, "the answer"), done)

    def test_answer_cut_by_the_server_is_not_taken_for_one(self):
        for reason in ("length", "content_filter"):
            with self.subTest(reason):
                with MockModel([text("half an ans", finish=reason)]) as model:
                    done, out = self.run_agent(model, self.agent(), "go")
                self.assertEqual((done.code, out["stop_reason"]), (1, "failed"), done)
                self.assertTrue(out["error"])


class Limits(harness.Case):
    def limited(self, script, *limits, fields="", **options):
        arguments = [part for limit in limits for part in ("--limit", limit)]
        self.file("a.txt", "alpha\n")
        with MockModel(script) as model:
            done, out = self.run_agent(model, self.agent(fields), "go", *arguments, **options)
        return done, out, model

    def forever(self, request):
        return calls(("file.read", {"path": "a.txt", "offset": 1, "limit": len(request.messages)}))

    def test_zero_means_no_request_at_all(self):
        for limit, reason, code in (("steps=0", "limit_steps", 3), ("tokens=0", "limit_tokens", 3), ("usd=0", "limit_usd", 3),
                                    ("seconds=0", "limit_seconds", 124)):
            with self.subTest(limit):
                done, out, model = self.limited([], limit)
                self.assertEqual((done.code, out["stop_reason"], out["exit_code"]), (code, reason, code), done)
                self.assertEqual(len(model.requests), 0)

    def test_steps(self):
        done, out, model = self.limited(self.forever, "steps=3")
        self.assertEqual((done.code, out["stop_reason"]), (3, "limit_steps"), done)
        self.assertEqual((len(model.requests), out["usage"]["steps"]), (3, 3))

    def test_steps_of_the_agent_and_the_smaller_one_holds(self):
        done, out, model = self.limited(self.forever, "steps=9", fields="limits = { steps = 2 },")
        self.assertEqual((done.code, out["stop_reason"], len(model.requests)), (3, "limit_steps", 2), done)
        done, out, model = self.limited(self.forever, "steps=1", fields="limits = { steps = 2 },")
        self.assertEqual((done.code, out["stop_reason"], len(model.requests)), (3, "limit_steps", 1), done)

    def test_tool_calls_are_refused_before_any_of_them_runs(self):
        script = [calls(("file.read", {"path": "a.txt"})), calls(("file.list", {}), ("search", {"pattern": "x"}))]
        done, out, model = self.limited(script, "tool_calls=2")
        self.assertEqual((done.code, out["stop_reason"]), (3, "limit_tool_calls"), done)
        self.assertEqual((len(model.requests), out["usage"]["tool_calls"]), (2, 1))

    def test_no_tool_calls_left_still_lets_the_model_answer(self):
        done, out, _ = self.limited([calls(("file.read", {"path": "a.txt"})), text("fine")], "tool_calls=1")
        self.assertEqual((done.code, out["text"]), (0, "fine"), done)

    def test_tokens(self):
        done, out, model = self.limited(self.forever, "tokens=20")  # 14 per answer
        self.assertEqual((done.code, out["stop_reason"], len(model.requests)), (3, "limit_tokens", 2), done)

    def test_usd(self):
        self.file("../.home/config/moonlet/config.lua", "return { providers = { custom = { price = { input = 1000, cached = 1000, output = 2000 } } } }")
        done, out, model = self.limited(self.forever, "usd=0.03")  # 0.019 per answer
        self.assertEqual((done.code, out["stop_reason"], len(model.requests)), (3, "limit_usd", 2), done)
        self.assertAlmostEqual(out["usage"]["usd"], 0.038, places=6)

    def test_usd_without_a_price_is_said_not_ignored(self):
        done, out, model = self.limited(self.forever, "usd=5")
        self.assertEqual((done.code, out["stop_reason"], len(model.requests)), (3, "limit_usd", 1), done)
        self.assertIn("price", out["error"])

    def test_usd_where_the_cost_cannot_be_known_is_refused_at_once(self):
        env = self.environment(VLLM_API_KEY="k")
        done = self.moonlet("run", self.agent(), "go", "-m", "vllm/mock", "--limit", "usd=5", "--json", env=env)
        self.assertEqual((done.code, done.json()["exit_code"]), (2, 2), done)
        self.assertRegex(done.json()["error"], "usd.*vllm/mock.*price")
        done = self.moonlet("run", self.agent("limits = { usd = 5 },"), "go", "-m", "vllm/mock", env=env)
        self.assertEqual(done.code, 2, done)

    def test_cost_that_is_not_known_is_not_told(self):
        with MockModel([text("ok")]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertNotIn("usd", out["usage"], done)

    def test_seconds_end_a_model_that_hangs(self):
        never = threading.Event()
        done, out, _ = self.limited([text("too late", pause=never)], "seconds=1")
        self.assertEqual((done.code, out["stop_reason"]), (124, "limit_seconds"), done)
        self.assertLess(out["wall_ms"], 60_000)

    def test_seconds_end_a_tool_that_hangs(self):
        with MockModel([calls(("shell", {"command": "echo $$ > pid; exec sleep 1000"}))]) as model:
            done, out = self.run_agent(model, self.agent(tools='"shell"'), "go", "--yes", "--limit", "seconds=1")
        self.assertEqual((done.code, out["stop_reason"]), (124, "limit_seconds"), done)
        with open(os.path.join(self.work, "pid"), encoding="ascii") as pid:
            self.assertFalse(is_alive(int(pid.read())))

    def test_limit_that_is_none_is_a_usage_error(self):
        for limit in ("stepps=3", "steps", "steps=many", "steps=-1"):
            with self.subTest(limit):
                done = self.moonlet("run", self.agent(), "go", "--limit", limit, "-m", "custom/mock", env=self.environment(MOONLET_BASE_URL="http://127.0.0.1:9/v1"))
                self.assertEqual(done.code, 2, done)


class Plans(harness.Case):
    def test_plan_comes_first_and_is_an_event(self):
        self.file("a.txt", "alpha\n")
        first = [{"text": "read", "state": "doing"}, {"text": "answer", "state": "todo"}]
        then = [{"text": "read", "state": "done"}, {"text": "answer", "state": "doing"}]
        script = [calls(("file.read", {"path": "a.txt"})), calls(("plan", {"items": first}), ("file.read", {"path": "a.txt"})),
                  calls(("plan", {"items": then})), text("done")]
        with MockModel(script) as model:
            done = self.moonlet("run", self.agent("plan = true,"), "go", "-m", "custom/mock", "--output", "stream-json", env=self.environment(model))
        self.assertEqual(done.code, 0, done)
        self.assertIn("plan", model.requests[0].tool_names())
        self.assertIn("plan", tell(model.requests[1]))
        self.assertNotIn("alpha", tell(model.requests[1]))
        self.assertIn("alpha", tell(model.requests[2]))
        self.assertEqual([e["body"]["items"] for e in done.events("plan.updated")], [first, then])

    def test_agent_without_plan_has_no_such_tool(self):
        with MockModel([text("ok")]) as model:
            self.run_agent(model, self.agent(), "go")
        self.assertNotIn("plan", model.requests[0].tool_names())

    def test_plan_with_a_wrong_state_is_refused(self):
        script = [calls(("plan", {"items": [{"text": "x", "state": "maybe"}]})), text("done")]
        with MockModel(script) as model:
            self.run_agent(model, self.agent("plan = true,"), "go")
        self.assertIn("state", tell(model.requests[1]))


def is_alive(pid):
    """Is the process there, and no zombie that only its new parent has to reap?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


class Interrupts(harness.Case):
    def pids(self):
        path = os.path.join(self.work, "pids")
        try:
            with open(path, encoding="ascii") as listed:
                return [int(word) for word in listed.read().split()]
        except FileNotFoundError:
            return []

    def test_ctrl_c_ends_the_shell_and_all_it_started(self):
        command = "sh -c 'trap \"\" TERM INT; sleep 1000 & echo $$ $! >> pids.new; wait' & echo $$ >> pids.new; until [ $(wc -w < pids.new) = 3 ]; do :; done; mv pids.new pids; wait"
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number), MockModel([calls(("shell", {"command": command}))]) as model:
                process = self.start("run", self.agent(tools='"shell"'), "go", "--yes", "-m", "custom/mock", "--output", "json", env=self.environment(model))
                wait_for(lambda: len(self.pids()) == 3, "the shell's children")
                pids = self.pids()
                os.kill(process.pid, number)
                done = self.finish(process)
                self.assertEqual((done.code, done.json()["stop_reason"]), (130, "interrupted"), done)
                wait_for(lambda: not any(map(is_alive, pids)), f"the end of {pids}", 10)
                os.remove(os.path.join(self.work, "pids"))

    def test_ctrl_c_closes_the_stream(self):
        never = threading.Event()
        with MockModel([text("half of it", pause=never)]) as model:
            process = self.start("run", self.agent(), "go", "-m", "custom/mock", "--output", "stream-json", env=self.environment(model))
            model.wait_request()
            os.kill(process.pid, signal.SIGINT)
            done = self.finish(process)
        self.assertEqual(done.code, 130, done)
        last = done.events()[-1]
        self.assertEqual((last["type"], last["stop_reason"], last["exit_code"]), ("run.finished", "interrupted", 130))


class Output(harness.Case):
    def test_usage_is_summed(self):
        self.file("a.txt", "alpha\n")
        script = [calls(("file.read", {"path": "a.txt"}), usage=(100, 20, 64)), calls(("file.list", {}), usage=(150, 5, 90)), text("ok", usage=(200, 7))]
        with MockModel(script) as model:
            _, out = self.run_agent(model, self.agent(), "go")
        usage = out["usage"]
        self.assertEqual((usage["input_tokens"], usage["output_tokens"], usage["cached_tokens"]), (450, 32, 154))
        self.assertEqual((usage["steps"], usage["tool_calls"]), (3, 2))

    def test_answer_without_usage(self):
        with MockModel([text("ok", usage=None)]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["usage"]["steps"]), (0, 1), done)

    def test_json_has_its_members(self):
        with MockModel([text("ok")]) as model:
            _, out = self.run_agent(model, self.agent(), "go")
        self.assertLessEqual({"run", "stop_reason", "exit_code", "text", "error", "usage", "wall_ms", "model"}, set(out))
        self.assertEqual(out["model"], "custom/mock")

    def test_stream_json_is_the_run(self):
        self.file("a.txt", "alpha\n")
        with MockModel([calls(("file.read", {"path": "a.txt"}, "x1")), text("done")]) as model:
            done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", "--output", "stream-json", env=self.environment(model))
        self.assertNotIn(b"\r", done.raw_out)
        self.assertTrue(done.raw_out.endswith(b"\n"))
        events = done.events()
        for event in events:
            self.assertLessEqual({"type", "run", "seq", "path", "time", "body"}, set(event), event)
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
        self.assertEqual(len({e["run"] for e in events}), 1)
        kept = [e for e in events if e["seq"]]
        self.assertEqual([e["seq"] for e in kept], list(range(1, len(kept) + 1)))
        self.assertEqual([e["type"] for e in kept],
                         ["run.created", "model.request", "model.response", "tool.intent", "tool.result",
                          "model.request", "model.response", "run.finished"])
        by_type = {e["type"]: e["body"] for e in kept}
        self.assertEqual(by_type["run.created"]["input"], "go")
        self.assertEqual((by_type["tool.intent"]["tool"], by_type["tool.intent"]["model_call"]), ("file.read", "x1"))
        self.assertEqual(by_type["tool.intent"]["arguments"], {"path": "a.txt"})
        self.assertTrue(by_type["tool.result"]["ok"])
        self.assertIn("alpha", by_type["tool.result"]["text"])
        last = events[-1]
        self.assertEqual((last["type"], last["stop_reason"], last["exit_code"], last["body"]["text"]), ("run.finished", "done", 0, "done"))

    def test_foreign_bytes_do_not_reach_a_terminal_raw(self):
        self.file("a.txt", "alpha\n")
        master, slave = pty.openpty()
        script = [calls(("file.read", {"path": "\x1b]0;owned\x07.txt"})), text("hello \x1b[31mred\x1b[2J \u202e end")]
        with MockModel(script) as model:
            process = self.start("run", self.agent(), "go", "-m", "custom/mock", env=self.environment(model, TERM="xterm", NO_COLOR="1"),
                                 stdout=slave, stderr=slave)
            os.close(slave)
            seen = b""
            while True:
                try:
                    piece = os.read(master, 65536)
                except OSError:
                    break
                if not piece:
                    break
                seen += piece
            process.wait(timeout=harness.PATIENCE)
            os.close(master)
        self.assertEqual(process.returncode, 0, seen)
        self.assertIn(b"hello", seen)
        self.assertNotIn(b"\x1b[31m", seen)
        self.assertNotIn(b"\x1b[2J", seen)
        self.assertNotIn(b"\x1b]", seen)
        self.assertNotIn("\u202e".encode(), seen)


class Policy(harness.Case):
    WRITE = ("file.write", {"path": "new.txt", "content": "hello\n"})

    def written(self):
        return os.path.exists(os.path.join(self.work, "new.txt"))

    def test_nobody_to_ask_ends_the_run(self):
        with MockModel([calls(self.WRITE)]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["stop_reason"]), (4, "needs_approval"), done)
        self.assertFalse(self.written())
        self.assertIn("file.write", out["error"])
        self.assertIn(out["run"], done.err + done.out)

    def test_yes_allows(self):
        with MockModel([calls(self.WRITE), text("written")]) as model:
            done, out = self.run_agent(model, self.agent(), "go", "--yes")
        self.assertEqual((done.code, out["text"]), (0, "written"), done)
        self.assertTrue(self.written())

    def test_policy_of_the_agent_allows(self):
        with MockModel([calls(self.WRITE), text("written")]) as model:
            done, _ = self.run_agent(model, self.agent('policy = { ["file.write"] = "allow" },'), "go")
        self.assertEqual(done.code, 0, done)
        self.assertTrue(self.written())

    def test_deny_is_told_and_stands_against_yes(self):
        with MockModel([calls(self.WRITE), text("a pity")]) as model:
            done, out = self.run_agent(model, self.agent(), "go", "--yes", "--policy", "file.write=deny")
        self.assertEqual((done.code, out["text"]), (0, "a pity"), done)
        self.assertFalse(self.written())
        self.assertIn("refused", tell(model.requests[1]))

    def test_deny_by_the_agent_stands_against_allow(self):
        with MockModel([calls(self.WRITE), text("a pity")]) as model:
            self.run_agent(model, self.agent('policy = { file = "deny" },'), "go", "--policy", "file.write=allow")
        self.assertFalse(self.written())

    def test_repository_cannot_loosen(self):
        self.file(".moonlet/config.lua", 'return { policy = { ["file.write"] = "allow" } }')
        with MockModel(lambda request: calls(self.WRITE)) as model:
            done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", "--output", "json", env=self.environment(model))
        self.assertIn(done.code, (2, 4, 5), done)
        self.assertFalse(self.written())

    def test_calls_before_the_one_that_waits_were_run(self):
        with MockModel([calls(("file.list", {}), self.WRITE)]) as model:
            done, out = self.run_agent(model, self.agent(), "go")
        self.assertEqual((done.code, out["stop_reason"]), (4, "needs_approval"), done)


class Input(harness.Case):
    def test_stdin_is_not_waited_for_with_an_input(self):
        read, write = os.pipe()
        try:
            with MockModel([text("ok")]) as model:
                process = self.start("run", self.agent(), "the task", "-m", "custom/mock", stdin=read, env=self.environment(model))
                done = self.finish(process, timeout=60)
            self.assertEqual((done.code, done.out), (0, "ok\n"), done)
            self.assertEqual(model.requests[0].messages[-1]["content"], "the task")
        finally:
            os.close(read)
            os.close(write)

    def test_dash_reads_stdin(self):
        with MockModel([text("ok")]) as model:
            done, _ = self.run_agent(model, self.agent(), "-", input="line one\nline two – ü\n")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(model.requests[0].messages[-1]["content"].rstrip("\n"), "line one\nline two – ü")

    def test_stdin_is_not_touched_without_a_dash(self):
        read, write = os.pipe()
        try:
            os.write(write, b"not for you")
            with MockModel([text("ok")]) as model:
                done = self.finish(self.start("run", self.agent(), "-m", "custom/mock", stdin=read, env=self.environment(model)), timeout=60)
            self.assertEqual((done.code, done.out), (0, "ok\n"), done)
            self.assertEqual(os.read(read, 100), b"not for you")
        finally:
            os.close(read)
            os.close(write)

    def test_input_with_quotes_and_controls_arrives_whole(self):
        task = 'a "b" \\ \t \u2028 日本 🌙\nnext \x7f'
        with MockModel([text("ok")]) as model:
            self.run_agent(model, self.agent(), task)
        self.assertEqual(model.requests[0].messages[-1]["content"], task)

    def test_bytes_that_are_no_text_arrive_as_replacements(self):
        """The same for every kind of model and reader: a NUL ends strings in some and is refused by others."""
        given, taken = b"one\0two\xff\0", "one\ufffdtwo\ufffd\ufffd"
        with MockModel([text("ok")]) as model:
            self.run_agent(model, self.agent(), "-", input=given)
        self.assertEqual(model.requests[0].messages[-1]["content"], taken)
        self.assertNotIn(rb"\u0000", model.requests[0].raw)
        self.file("echo.lua", 'local moon = require "moonlet"\nreturn moon.agent { name = "x", tools = {}, model = '
                  "moon.model.script(function(request) return request.messages[1].content end) }")
        for form in ("text", "json", "stream-json"):
            done = self.moonlet("run", "./echo.lua", "-", "--output", form, input=given)
            self.assertIn(taken, done.out if form == "text" else done.events()[-1].get("text") or done.events()[-1]["body"]["text"])
        done = self.moonlet("run", "./echo.lua", b"caf\xe9")
        self.assertEqual(done.out, "caf\ufffd\n")


class Structured(harness.Case):
    FIELDS = "output = { files = { \"string\" }, why = \"string\" },"

    def test_answer_that_fits(self):
        with MockModel([text('```json\n{"files": ["a"], "why": "so"}\n```')]) as model:
            done, out = self.run_agent(model, self.agent(self.FIELDS), "go")
        self.assertEqual((done.code, json.loads(out["text"])), (0, {"files": ["a"], "why": "so"}), done)
        self.assertEqual(out["output"], {"files": ["a"], "why": "so"})

    def test_answer_is_repaired_by_asking_again(self):
        with MockModel([text('{"files": "a", "why": "so"}'), text('{"files": ["a"], "why": "so"}')]) as model:
            done, _ = self.run_agent(model, self.agent(self.FIELDS), "go")
        self.assertEqual(done.code, 0, done)
        self.assertIn("files", model.requests[1].messages[-1]["content"])

    def test_answer_that_never_fits(self):
        with MockModel(lambda request: text("no JSON at all")) as model:
            done, out = self.run_agent(model, self.agent(self.FIELDS), "go")
        self.assertEqual((done.code, out["stop_reason"]), (7, "output_schema"), done)


if __name__ == "__main__":
    harness.main()
