# SPDX-License-Identifier: MIT
"""Servers that refuse, stall, lie or break off: what the run makes of it, and how often it asks."""
import json
import os
import socket
import ssl
import subprocess
import threading

import harness
from mock_model import CUT, END, Answer, MockModel, Reply, calls, events, failure, text


def chunk(delta, finish=None):
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


class Provider(harness.Case):
    def ask(self, script, *arguments, fields="", **options):
        with MockModel(script) as model:
            done, out = self.run_agent(model, self.agent(fields), "go", *arguments, **options)
        return done, out, model

    def assert_unavailable(self, done, out, *words, code=6, reason="provider_unavailable"):
        self.assertEqual((done.code, out["stop_reason"]), (code, reason), done)
        for word in words:
            self.assertIn(word, out["error"])

    def assert_misconfigured(self, done, out, *words):
        """A key, model or address that is wrong: asking again does not help, mending does."""
        self.assert_unavailable(done, out, *words, code=2, reason="configuration")


class Refusals(Provider):
    def test_401_is_not_tried_again(self):
        done, out, model = self.ask([failure(401, "Incorrect API key provided", "invalid_api_key")], env={"MOONLET_API_KEY": "sk-very-secret"})
        self.assert_misconfigured(done, out, "401", "Incorrect API key")
        self.assertEqual(len(model.requests), 1)
        self.assertNotIn("sk-very-secret", done.out + done.err)

    def test_404_names_the_model(self):
        done, out, model = self.ask([failure(404, "The model `mock` does not exist", "model_not_found")])
        self.assert_misconfigured(done, out, "404", "mock")
        self.assertEqual(len(model.requests), 1)

    def test_400_and_403_are_not_tried_again(self):
        for status in (400, 403, 422):
            with self.subTest(status):
                done, out, model = self.ask([failure(status, "the reason given")])
                (self.assert_misconfigured if status == 403 else self.assert_unavailable)(done, out, str(status), "the reason given")
                self.assertEqual(len(model.requests), 1)

    def test_what_was_misconfigured_goes_on_when_it_is_mended(self):
        with MockModel([failure(401, "no such key"), text("ok")]) as model:
            env = {"XDG_STATE_HOME": self.home, **self.environment(model)}
            done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", "--json", env=env)
            self.assert_misconfigured(done, done.json())
            again = self.moonlet("resume", done.json()["run"], env=env)
        self.assertEqual((again.code, again.out), (0, "ok\n"), again)

    def test_refusal_without_a_body(self):
        done, out, _ = self.ask([Reply(b"", 403, length=True)])
        self.assert_misconfigured(done, out, "403")

    def test_key_is_sent_as_bearer_and_not_at_all_without_one(self):
        _, _, model = self.ask([text("ok")], env={"MOONLET_API_KEY": "sk-test"})
        self.assertEqual(model.requests[0].headers.get("Authorization"), "Bearer sk-test")
        _, _, model = self.ask([text("ok")])
        self.assertNotIn("Authorization", model.requests[0].headers)
        self.assertEqual(model.requests[0].path, "/v1/chat/completions")

    def test_foreign_error_text_is_not_written_raw(self):
        with MockModel([failure(400, "bad \x1b[2J\x1b]0;x\x07 end")]) as model:
            done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", env=self.environment(model))
        self.assertEqual(done.code, 6, done)
        self.assertNotIn(b"\x1b", done.raw_err)


class Retries(Provider):
    def test_429_waits_as_long_as_told(self):
        for header in ({"Retry_After": "1"}, {"Retry_After_Ms": "900"}):
            with self.subTest(header):
                done, out, model = self.ask([failure(429, "slow down", "rate_limit_exceeded", **header), text("ok")])
                self.assertEqual((done.code, out["text"]), (0, "ok"), done)
                self.assertEqual(len(model.requests), 2)
                self.assertGreaterEqual(out["wall_ms"], 850)
                self.assertEqual(model.requests[0].raw, model.requests[1].raw)

    def test_quota_that_is_used_up_is_not_tried_again(self):
        done, out, model = self.ask([failure(429, "You exceeded your current quota", "insufficient_quota")])
        self.assert_unavailable(done, out, "quota")
        self.assertEqual(len(model.requests), 1)

    def test_500_storm_then_success(self):
        fast = {"Retry_After_Ms": "10"}
        done, out, model = self.ask([failure(500, **fast), failure(503, **fast), failure(502, **fast), text("at last")])
        self.assertEqual((done.code, out["text"], len(model.requests)), (0, "at last", 4), done)
        self.assertEqual(out["usage"]["steps"], 1)

    def test_retries_are_events(self):
        with MockModel([failure(500, "storm", Retry_After_Ms="10"), text("ok")]) as model:
            done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", "--output", "stream-json", env=self.environment(model))
        retry = done.events("model.retry")
        self.assertEqual(len(retry), 1, done)
        self.assertEqual(retry[0]["body"]["attempt"], 1)
        self.assertIn("storm", retry[0]["body"]["error"])

    def test_storm_without_end_gives_up(self):
        done, out, model = self.ask(lambda request: failure(500, "storm", Retry_After_Ms="5"))
        self.assert_unavailable(done, out, "500")
        self.assertEqual(len(model.requests), 5)

    def test_agent_says_how_often(self):
        done, out, model = self.ask([failure(500, Retry_After_Ms="5")] * 2, fields="retries = 1,")
        self.assert_unavailable(done, out)

    def test_wall_clock_ends_a_long_wait(self):
        done, out, model = self.ask([failure(429, "later", Retry_After="50")], "--limit", "seconds=1")
        self.assertEqual((done.code, out["stop_reason"], len(model.requests)), (124, "limit_seconds", 1), done)

    def test_refused_connection(self):
        with socket.socket() as taken:  # bound, not listening: nobody else gets the port
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
            done = self.moonlet("run", self.agent("retries = 1,"), "go", "-m", "custom/mock", "--output", "json", env=self.environment(MOONLET_BASE_URL=url))
        self.assert_unavailable(done, done.json(), "127.0.0.1")

    def test_no_tls_where_tls_was_asked_for(self):
        with MockModel([]) as model:
            url = model.url.replace("http:", "https:")
            done = self.moonlet("run", self.agent("retries = 0,"), "go", "-m", "custom/mock", "--output", "json", env=self.environment(MOONLET_BASE_URL=url))
        self.assert_unavailable(done, done.json())
        self.assertRegex(done.json()["error"], "(?i)ssl|tls")

    def test_certificate_that_nobody_vouches_for(self):
        certificate = os.path.join(self.dir, "cert.pem")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", certificate,
                               "-out", certificate + ".crt", "-subj", "/CN=localhost", "-days", "1"], capture_output=True, check=False, env=self.env)
        if made.returncode:
            self.skipTest("no openssl program")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate + ".crt", certificate)
        with MockModel([]) as model:
            model.wrap(context)
            url = model.url.replace("http:", "https:")
            done = self.moonlet("run", self.agent("retries = 0,"), "go", "-m", "custom/mock", "--output", "json", env=self.environment(MOONLET_BASE_URL=url))
        self.assert_unavailable(done, done.json())
        self.assertRegex(done.json()["error"], "(?i)certificate")


class BrokenStreams(Provider):
    """A stream that ends before its time is no answer; it is asked for again."""

    def test_cut_stream_is_retried(self):
        half = [chunk({"role": "assistant", "content": "half an "}), chunk({"content": "ans"})]
        for label, cut in (("reset", events(*half, done=False, tail=[CUT])), ("closed", events(*half, done=False, tail=[END])),
                           ("ended in order without an end", events(*half, done=False))):
            with self.subTest(label):
                done, out, model = self.ask([cut, text("the whole answer")])
                self.assertEqual((done.code, out["text"], len(model.requests)), (0, "the whole answer", 2), done)

    def test_stream_cut_within_arguments_runs_no_tool(self):
        self.file("a.txt", "alpha\n")
        cut = events(chunk({"role": "assistant", "tool_calls": [{"index": 0, "id": "x", "type": "function",
                                                                 "function": {"name": "file_read", "arguments": '{"path":"a.txt"}'}}]}), done=False, tail=[END])
        done, out, _ = self.ask([cut, text("ok")])
        self.assertEqual((done.code, out["text"], out["usage"]["tool_calls"]), (0, "ok", 0), done)

    def test_stream_that_is_cut_every_time(self):
        cut = events(chunk({"content": "half"}), done=False, tail=[END])
        done, out, model = self.ask([cut, cut], fields="retries = 1,")
        self.assert_unavailable(done, out)
        self.assertNotEqual(out["text"], "half")

    def test_finish_reason_without_done_marker_is_an_end(self):
        done, out, _ = self.ask([events(chunk({"content": "whole"}), chunk({}, "stop"), done=False)])
        self.assertEqual((done.code, out["text"]), (0, "whole"), done)

    def test_stall_is_noticed_and_retried(self):
        never = threading.Event()
        done, out, model = self.ask([text("first part", pause=never), text("whole")], fields="stall_seconds = 1, first_byte_seconds = 60,")
        self.assertEqual((done.code, out["text"], len(model.requests)), (0, "whole", 2), done)

    def test_silence_from_the_start_is_noticed_and_retried(self):
        never = threading.Event()
        done, out, model = self.ask([Reply([never], kind="text/event-stream"), text("whole")], fields="first_byte_seconds = 1, stall_seconds = 1,")
        self.assertEqual((done.code, out["text"], len(model.requests)), (0, "whole", 2), done)

    def test_error_within_the_stream(self):
        broken = events(chunk({"content": "hal"}), {"error": {"message": "upstream is gone", "code": 502}}, done=False)
        done, out, _ = self.ask([broken, text("whole")])
        self.assertEqual((done.code, out["text"]), (0, "whole"), done)

    def test_comments_and_empty_choices_are_passed_over(self):
        stream = events(b": OPENROUTER PROCESSING\n\n", {"choices": []}, b"event: ping\ndata: {\"choices\":[]}\n\n", chunk({"role": "assistant", "content": "fi"}),
                        b":\n\n", chunk({"content": "ne"}), chunk({}, "stop"), {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
        done, out, _ = self.ask([stream])
        self.assertEqual((done.code, out["text"], out["usage"]["input_tokens"]), (0, "fine", 3), done)

    def test_crlf_stream(self):
        stream = b"".join(b"data: " + json.dumps(c).encode() + b"\r\n\r\n" for c in (chunk({"content": "fine"}), chunk({}, "stop"))) + b"data: [DONE]\r\n\r\n"
        done, out, _ = self.ask([Reply([stream[at:at + 5] for at in range(0, len(stream), 5)], kind="text/event-stream")])
        self.assertEqual((done.code, out["text"]), (0, "fine"), done)

    def test_whole_body_where_a_stream_was_asked_for(self):
        self.file("a.txt", "alpha\n")
        done, out, model = self.ask([calls(("file.read", {"path": "a.txt"})).whole(), text("fine").whole()])
        self.assertEqual((done.code, out["text"]), (0, "fine"), done)
        self.assertIn("alpha", model.requests[1].messages[-1]["content"])

    def test_agent_that_wants_no_stream(self):
        done, out, model = self.ask([text("fine")], fields="stream = false,")
        self.assertEqual((done.code, out["text"]), (0, "fine"), done)
        self.assertFalse(model.requests[0].json.get("stream"))


class Nonsense(Provider):
    def test_html(self):
        page = b"<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>"
        for status in (200, 404):
            with self.subTest(status):
                done, out, _ = self.ask(lambda request: Reply(page, status, kind="text/html", length=True), fields="retries = 0,")
                self.assert_misconfigured(done, out)
                self.assertRegex(out["error"], "(?i)html|not json|no json|404")

    def test_truncated_json(self):
        done, out, _ = self.ask(lambda request: Reply(b'{"choices":[{"message":{"content":"hal', length=True), fields="retries = 0,")
        self.assert_unavailable(done, out)

    def test_truncated_event(self):
        stream = Reply([b'data: {"choices":[{"delta":{"content":"hal\n\n'], kind="text/event-stream")
        done, out, _ = self.ask(lambda request: stream, fields="retries = 0,")
        self.assert_unavailable(done, out)

    def test_json_of_another_kind(self):
        for body in (b"{}", b"[]", b"null", b'"text"', b'{"choices":null}', b'{"choices":[]}', b'{"choices":[{"message":null}]}', b'{"object":"list","data":[]}'):
            with self.subTest(body):
                done, out, _ = self.ask(lambda request: Reply(body, length=True), fields="retries = 0,")
                self.assertNotEqual(done.code, 0, done)
                self.assertTrue(out["error"])

    def test_empty_body(self):
        done, out, _ = self.ask(lambda request: Reply(b"", length=True), fields="retries = 0,")
        self.assert_unavailable(done, out)

    def test_invalid_utf8_in_an_answer_is_repaired(self):
        stream = Reply([b'data: {"choices":[{"index":0,"delta":{"content":"caf\xe9 \xff!"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'], kind="text/event-stream")
        done, out, _ = self.ask([stream])
        self.assertEqual(done.code, 0, done)
        self.assertEqual(out["text"], "caf\ufffd \ufffd!")

    def test_one_hundred_megabytes_in_one_line(self):
        piece = b"x" * (1 << 20)
        line = Reply([b'data: {"choices":[{"index":0,"delta":{"content":"'] + [piece] * 100 + [b'"}}]}\n\n'], kind="text/event-stream")
        done, out, _ = self.ask(lambda request: line, fields="retries = 0,")
        self.assert_unavailable(done, out)
        self.assertLess(len(done.raw_out), 1 << 20)

    def test_endless_error_body(self):
        body = Reply([b"x" * (1 << 20)] * 100, 400, kind="text/plain")
        done, out, _ = self.ask([body])
        self.assert_unavailable(done, out, "400")
        self.assertLess(len(done.raw_out), 1 << 20)

    def test_headers_of_nonsense(self):
        odd = failure(429, "slow", Retry_After="not a number", X_Odd="\x80\xff".encode("latin-1").decode("latin-1"))
        done, out, _ = self.ask([odd, text("ok")])
        self.assertEqual((done.code, out["text"]), (0, "ok"), done)


class HostileCalls(Provider):
    """Tool calls that are sound on the wire and are not what anybody wants."""

    def test_arguments_of_ten_megabytes(self):
        huge = json.dumps({"pattern": "x" * 10_000_000})
        done, out, model = self.ask([Answer(None, [("search", huge, "big")]), text("sorry")])
        self.assertEqual((done.code, out["text"]), (0, "sorry"), done)
        told = model.requests[1].messages[-1]
        self.assertEqual(told["tool_call_id"], "big")
        self.assertLess(len(told["content"]), 64 << 10)

    def test_arguments_without_end_are_a_clear_error(self):
        huge = json.dumps({"pattern": "x" * (30 << 20)})
        done, out, _ = self.ask([Answer(None, [("search", huge, "big")])], fields="retries = 0,")
        self.assert_unavailable(done, out, "too long")

    def test_arguments_nested_ten_thousand_deep(self):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            with self.subTest(opening):
                deep = '{"pattern":' + opening * 10_000 + "1" + closing * 10_000 + "}"
                done, out, model = self.ask([Answer(None, [("search", deep, "deep")]), text("sorry")])
                self.assertEqual((done.code, out["text"]), (0, "sorry"), done)
                self.assertEqual(model.requests[1].messages[-1]["tool_call_id"], "deep")

    def test_answer_nested_ten_thousand_deep(self):
        body = b'{"choices":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
        done, out, _ = self.ask(lambda request: Reply(body, length=True), fields="retries = 0,")
        self.assert_unavailable(done, out)

    def test_duplicate_ids_become_unique(self):
        self.file("a.txt", "alpha\n")
        self.file("b.txt", "beta\n")
        done, _, model = self.ask([calls(("file.read", {"path": "a.txt"}, "same"), ("file.read", {"path": "b.txt"}, "same")), text("ok")])
        self.assertEqual(done.code, 0, done)
        said, first, second = model.requests[1].messages[-3:]
        ids = [call["id"] for call in said["tool_calls"]]
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual([first["tool_call_id"], second["tool_call_id"]], ids)
        self.assertIn("alpha", first["content"])
        self.assertIn("beta", second["content"])

    def test_ids_that_are_empty_or_missing(self):
        self.file("a.txt", "alpha\n")
        call = {"index": 0, "type": "function", "function": {"name": "file_read", "arguments": '{"path":"a.txt"}'}}
        for label, odd in (("empty", dict(call, id="")), ("missing", call), ("null", dict(call, id=None))):
            with self.subTest(label):
                done, _, model = self.ask([events(chunk({"role": "assistant", "tool_calls": [odd]}), chunk({}, "tool_calls")), text("ok")])
                self.assertEqual(done.code, 0, done)
                said, told = model.requests[1].messages[-2:]
                self.assertTrue(said["tool_calls"][0]["id"])
                self.assertEqual(said["tool_calls"][0]["id"], told["tool_call_id"])
                self.assertIn("alpha", told["content"])

    def test_arguments_as_an_object_and_call_in_one_chunk(self):
        self.file("a.txt", "alpha\n")
        call = {"function": {"name": "file_read", "arguments": {"path": "a.txt"}}}
        done, _, model = self.ask([events(chunk({"role": "assistant", "tool_calls": [call]}, "stop")), text("ok")])
        self.assertEqual(done.code, 0, done)
        self.assertIn("alpha", model.requests[1].messages[-1]["content"])

    def test_fragments_of_two_calls_interleaved(self):
        self.file("a.txt", "alpha\n")
        self.file("b.txt", "beta\n")

        def piece(index, arguments, **more):
            return chunk({"tool_calls": [dict(more, index=index, function=dict({"arguments": arguments}, **({"name": "file_read"} if more else {})))]})
        stream = events(chunk({"role": "assistant", "content": None}), piece(1, '{"pa', id="two", type="function"), piece(0, "", id="one", type="function"),
                        piece(1, 'th":"b.'), piece(0, '{"path"'), piece(1, 'txt"}'), piece(0, ':"a.txt"}'), chunk({}, "tool_calls"))
        done, _, model = self.ask([stream, text("ok")])
        self.assertEqual(done.code, 0, done)
        results = {m["tool_call_id"]: m["content"] for m in model.requests[1].messages if m["role"] == "tool"}
        self.assertIn("alpha", results["one"])
        self.assertIn("beta", results["two"])

    def test_name_of_nonsense(self):
        for name in ("", "x" * 5000, "a\n\x1b[2J", "file.read\x00"):
            with self.subTest(name[:20]):
                odd = Answer(None, [(name, "{}", "odd")])
                done, out, _ = self.ask(lambda request: odd if len(request.messages) == 2 else text("sorry"))
                self.assertIn(done.code, (0, 6), done)
                self.assertTrue(out["text"] == "sorry" or out["error"])

    def test_index_far_out_of_range(self):
        for index in (-1, 64, 10**9, 1.5, "0"):
            with self.subTest(index):
                odd = events(chunk({"tool_calls": [{"index": index, "id": "x", "type": "function", "function": {"name": "file_list", "arguments": "{}"}}]}),
                             chunk({}, "tool_calls"))
                done, _, _ = self.ask(lambda request: odd if len(request.messages) == 2 else text("ok"), fields="retries = 0,")
                self.assertIn(done.code, (0, 6), done)


class Sinks(Provider):
    """Where the output goes may fail as well."""

    def test_output_pipe_closed(self):
        for form in ("text", "json", "stream-json"):
            with self.subTest(form), MockModel(lambda request: text("x" * 300_000)) as model:
                read, write = os.pipe()
                os.close(read)
                process = self.start("run", self.agent(), "go", "-m", "custom/mock", "--output", form, env=self.environment(model), stdout=write)
                os.close(write)
                done = self.finish(process)
                self.assertEqual(done.code, 1, done)

    def test_reader_that_leaves_ends_the_run(self):
        """head -1: the run is cancelled, no further request is made."""
        self.file("a.txt", "alpha\n")
        release = threading.Event()

        def answer(request):
            if len(request.messages) > 2:
                release.wait(60)
            return calls(("file.read", {"path": "a.txt", "limit": len(request.messages)}))
        with MockModel(answer) as model:
            process = self.start("run", self.agent(), "go", "-m", "custom/mock", "--output", "stream-json", "--limit", "steps=30", env=self.environment(model))
            self.assertTrue(process.stdout.readline())
            process.stdout.close()
            release.set()
            self.assertEqual(process.wait(timeout=harness.PATIENCE), 1)
            process.stderr.close()
        self.assertLess(len(model.requests), 30)

    def test_disk_full(self):
        for form in ("text", "json", "stream-json"):
            with self.subTest(form), MockModel(lambda request: text("the answer")) as model:
                with open("/dev/full", "wb") as full:
                    process = self.start("run", self.agent(), "go", "-m", "custom/mock", "--output", form, env=self.environment(model), stdout=full)
                    done = self.finish(process)
                self.assertEqual(done.code, 1, done)
                self.assertIn("No space left", done.err)

    def test_stderr_closed(self):
        with MockModel([text("ok")]) as model:
            read, write = os.pipe()
            os.close(read)
            process = self.start("run", self.agent(), "go", "-m", "custom/mock", env=self.environment(model), stderr=write)
            os.close(write)
            done = self.finish(process)
        self.assertEqual((done.code, done.out), (0, "ok\n"), done)


if __name__ == "__main__":
    harness.main()
