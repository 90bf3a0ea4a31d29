# SPDX-License-Identifier: MIT
"""More of what servers do wrong, as tables: storms without end, TLS that nobody vouches for, pages, half answers, bytes that are no
UTF-8, lines of 100 MB, silence. Each is exit 6, or 2 where asking again cannot help, with an error that says what to look at, and
half an answer is never taken for one."""
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import unittest

import harness
import terminal
from mock_model import END, Answer, MockModel, Reply, calls, failure, text

MEGABYTE = b"x" * (1 << 20)
SOON = {"Retry_After_Ms": "5"}


def chunk(delta, finish=None):
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def stream(*parts):
    return Reply(list(parts), kind="text/event-stream")


class Server(harness.Case):
    def ask(self, script, *arguments, fields="", tools='"file", "search"', **options):
        with MockModel(script) as model:
            done, out = self.run_agent(model, self.agent(fields, tools=tools), "go", *arguments, **options)
        self.assertEqual(terminal.raw(done.raw_err), [], done)
        done.raw_out.decode("utf-8")
        return done, out, model

    def refused(self, script, *said, requests=None, fields="retries = 0,", code=6, **options):
        """The run ends with exit 6 (or 2, where asking again cannot help) and an error of bounded length that holds the words of said."""
        reason = {2: "configuration", 6: "provider_unavailable"}[code]
        done, out, model = self.ask(script, fields=fields, **options)
        self.assertEqual((done.code, out["stop_reason"], out["exit_code"], out["text"]), (code, reason, code, ""), done)
        for word in said:
            self.assertRegex(out["error"], f"(?i){word}")
        self.assertIn(reason, done.err)
        self.assertLess(len(done.raw_out) + len(done.raw_err), 64 << 10)
        if requests is not None:
            self.assertEqual(len(model.requests), requests, done)
        return done, out


    def speak(self, answer):
        """A server that reads what comes first (all of it, if it is a POST), writes answer as it is and closes; gives its port."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def whole(got):
            head, end, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            return got and (not got.startswith(b"POST") or (end and len(body) >= int(length.group(1))))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with client, contextlib.suppress(OSError):
                        client.settimeout(harness.PATIENCE)
                        got = b""
                        while not whole(got) and (piece := client.recv(65536)):
                            got += piece
                        client.sendall(answer)
        threading.Thread(target=serve, daemon=True).start()
        return listening.getsockname()[1]


class Storms(Server):
    def test_every_attempt_fails(self):
        for status, attempts, code in ((401, 1, 2), (403, 1, 2), (404, 1, 2), (400, 1, 6), (429, 5, 6), (500, 5, 6), (502, 5, 6), (503, 5, 6), (504, 5, 6), (529, 5, 6)):
            with self.subTest(status):
                self.refused(lambda request: failure(status, "the storm", **SOON), str(status), "the storm", "127.0.0.1", requests=attempts, fields="", code=code)

    def test_each_attempt_is_one_event_and_one_line(self):
        for status in (429, 500):
            with self.subTest(status), MockModel(lambda request: failure(status, "the storm", **SOON)) as model:
                done = self.moonlet("run", self.agent(), "go", "-m", "custom/mock", "--output", "stream-json", env=self.environment(model))
                self.assertEqual(done.code, 6, done)
                self.assertEqual([e["body"]["attempt"] for e in done.events("model.retry")], [1, 2, 3, 4])
                self.assertEqual(len(model.requests), 5)
                self.assertEqual(len({request.raw for request in model.requests}), 1)
                self.assertEqual(len([line for line in done.err.splitlines() if "(attempt " in line]), 4, done)
                self.assertEqual(done.err.count("provider_unavailable"), 1, done)
                self.assertEqual([e["body"]["step"] for e in done.events("model.request")], [1], "a storm is one step")

    def test_429_and_500_in_turn_use_up_the_same_attempts(self):
        statuses = iter((429, 500, 429, 503, 500))
        self.refused(lambda request: failure(next(statuses), "the storm", **SOON), "500", requests=5, fields="")

    def test_a_wait_that_is_too_long_is_said_at_once(self):
        for wait in ("3600", "99999999999999999999"):
            with self.subTest(wait):
                self.refused(lambda request: failure(429, "later", Retry_After=wait), "429", "asks to wait", requests=1, fields="")

    def test_a_storm_in_the_second_step_keeps_what_was_used(self):
        self.file("a.txt", "alpha\n")
        script = [calls(("file.read", {"path": "a.txt"}))] + [failure(500, "the storm", **SOON)] * 2
        done, out, _ = self.ask(script, fields="retries = 1,")
        self.assertEqual((done.code, out["stop_reason"], out["usage"]["tool_calls"], out["usage"]["input_tokens"]), (6, "provider_unavailable", 1, 9), done)

    def test_connection_refused_is_tried_again_and_names_the_address(self):
        with socket.socket() as taken:  # bound, not listening: nobody else gets the port
            taken.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            done = self.moonlet("run", self.agent("retries = 1,"), "go", "-m", "custom/mock", "--output", "stream-json",
                                env=self.environment(MOONLET_BASE_URL=f"http://{where}/v1"))
        self.assertEqual(done.code, 6, done)
        self.assertEqual(len(done.events("model.retry")), 1, done)
        self.assertIn(where, done.events()[-1]["error"])
        self.assertRegex(done.events()[-1]["error"], "(?i)refused|connect")


class Tls(Server):
    def certificate(self, names):
        """A new key and a certificate that it signed itself; gives the paths (certificate, key)."""
        crt, key = (os.path.join(self.dir, f"{len(os.listdir(self.dir))}.{kind}") for kind in ("crt", "key"))
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", crt,
                               "-subj", "/CN=moonlet test", "-addext", f"subjectAltName={names}", "-days", "1"], capture_output=True, check=False, env=self.env)
        self.assertEqual(made.returncode, 0, made)
        return crt, key

    def served(self, names, script, **env):
        crt, key = self.certificate(names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
        env = {name: crt if value is True else value for name, value in env.items()}
        with MockModel(script) as model:
            model.wrap(context)
            done = self.moonlet("run", self.agent("retries = 0,"), "go", "-m", "custom/mock", "--output", "json",
                                env=self.environment(MOONLET_BASE_URL=model.url.replace("http:", "https:"), MOONLET_API_KEY="sk-secret", **env))
        return done, done.json(), model

    def test_certificates(self):
        mine, other = "IP:127.0.0.1", "DNS:example.org"
        for label, names, env in (("signed by itself", mine, {}), ("for another host", other, {"SSL_CERT_FILE": True}),
                                  ("vouched for by nobody in a file that is empty", mine, {"SSL_CERT_FILE": self.file("none.pem", "")}),
                                  ("a file that is missing", mine, {"SSL_CERT_FILE": os.path.join(self.dir, "missing.pem")})):
            with self.subTest(label):
                done, out, model = self.served(names, [], **env)
                self.assertEqual((done.code, out["stop_reason"]), (6, "provider_unavailable"), done)
                self.assertRegex(out["error"], "(?i)certificate|subject name")
                self.assertEqual(model.requests, [], "the key was sent to somebody unknown")
                self.assertNotIn("sk-secret", done.out + done.err)

    def test_certificate_that_is_trusted(self):
        """So that the refusals above are for the reason they name."""
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            with self.subTest(name):
                done, out, model = self.served("IP:127.0.0.1", [text("over TLS")], **{name: True})
                self.assertEqual((done.code, out["text"]), (0, "over TLS"), done)

    def test_handshakes_that_fail(self):
        for label, answer in (("closed", b""), ("an alert", b"\x15\x03\x03\0\x02\x02\x28"), ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("noise", b"\0" * 4096)):
            with self.subTest(label):
                done = self.moonlet("run", self.agent("retries = 0,"), "go", "-m", "custom/mock", "--output", "json",
                                    env=self.environment(MOONLET_BASE_URL=f"https://127.0.0.1:{self.speak(answer)}/v1"))
                self.assertEqual(done.code, 6, done)
                self.assertRegex(done.json()["error"], "(?i)ssl|tls|connection")


class Bodies(Server):
    PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>" + b"<p>\x1b[31m</p>" * 20_000 + b"</body></html>"

    def test_pages(self):
        for status, kind in ((200, "text/html"), (200, "application/json"), (200, "text/event-stream"), (200, "text/plain"), (302, "text/html"),
                             (403, "text/html"), (404, "text/html"), (502, "text/html"), (503, "text/html")):
            with self.subTest(f"{status} {kind}"):
                _, out = self.refused([Reply(self.PAGE, status, kind=kind)], "127.0.0.1", "html|json|stream|not a model|" + str(status), requests=1,
                                      code=6 if status > 500 else 2)
                self.assertNotIn("<p><p>", out["error"])

    def test_an_answer_that_is_cut_is_none(self):
        whole = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "The answer."}, "finish_reason": "stop"}],
                            "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()
        for cut in (1, whole.index(b"The") + 4, whole.index(b"finish"), len(whole) - 1):
            with self.subTest(whole[:cut][-20:]):
                self.refused([Reply(whole[:cut], length=True)], fields="retries = 0, stream = false,")
                self.refused([Reply(whole[:cut], length=True)])
                self.refused([Reply([whole[:cut], END])])
        done, out, _ = self.ask([Reply(whole, length=True)])
        self.assertEqual((done.code, out["text"]), (0, "The answer."), done)

    def not_http(self, answer, said):
        done = self.moonlet("run", self.agent("retries = 0,"), "go", "-m", "custom/mock", "--output", "json",
                            env=self.environment(MOONLET_BASE_URL=f"http://127.0.0.1:{self.speak(answer)}/v1"))
        out = done.json()
        self.assertEqual((done.code, out["stop_reason"], out["text"]), (6, "provider_unavailable", ""), done)
        self.assertEqual(terminal.raw(done.raw_err), [], done)
        self.assertIn(said, out["error"])

    def test_what_is_not_quite_http(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        half = b'{"choices":[{"index":0,"message":{"content":"half'
        for label, answer in (
            ("nothing", b""), ("half a head", head), ("less than its length", head + b"Content-Length: 1000\r\n\r\n" + half), ("a length that is none", head + b"Content-Length: -7\r\n\r\n" + half),
            ("a length without end", head + b"Content-Length: 99999999999999999999999\r\n\r\n" + half), ("a chunk of no size", head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + half),
            ("a chunk without end", head + b"Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n" + half), ("a coding that is unknown", head + b"Content-Encoding: x\r\n\r\n" + half),
            ("gzip that is none", head + b"Content-Encoding: gzip\r\n\r\n" + half), ("status 999", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
            ("only interim answers", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
        ):
            with self.subTest(label):
                self.not_http(answer, "127.0.0.1")

    NOISE = (b"\0\xff" * 2000, b"220 mail.example.org ESMTP\r\n", b"\x15\x03\x03\0\x02\x02\x28", b"x" * 200_000 + b"\r\n\r\n")

    def test_what_is_no_http(self):
        for answer in self.NOISE:
            with self.subTest(answer[:20]):
                self.not_http(answer, "HTTP")

    def test_what_is_no_http_names_the_server(self):
        for answer in self.NOISE:
            with self.subTest(answer[:20]):
                self.not_http(answer, "127.0.0.1")

    def test_bytes_that_are_no_utf8(self):
        bad = b"caf\xe9 \xff\xfe \xc0\xaf \xed\xa0\x80 \xf0\x9f"
        finish = b'"finish_reason":"stop"}]}'
        answers = {
            "streamed": stream(b'data: {"choices":[{"index":0,"delta":{"content":"' + bad + b' end"},' + finish + b"\n\ndata: [DONE]\n\n"),
            "whole": Reply(b'{"choices":[{"message":{"content":"' + bad + b' end"},' + finish, length=True),
            "escaped": stream(b'data: {"choices":[{"index":0,"delta":{"content":"caf \\ud800 \\udfff end"},' + finish + b"\n\ndata: [DONE]\n\n"),
        }
        for label, answer in answers.items():
            with self.subTest(label):
                done, out, _ = self.ask([answer])
                self.assertEqual(done.code, 0, done)
                self.assertTrue(out["text"].startswith("caf") and out["text"].endswith("end"), done)
                self.assertIn("\ufffd", out["text"])
        self.refused([Reply(b'{"error":{"message":"' + bad + b'"}}', 400, length=True)], "400")
        self.refused([Reply(bad * 1000, 500, kind="text/plain", length=True)], "500")
        self.refused([Reply(bad * 1000, length=True)], code=2)

    def test_calls_whose_bytes_are_no_utf8(self):
        """What is sent back is sound, whatever came."""
        self.file("a.txt", "alpha\n")
        bad = b"\xff\xe9"
        call = (b'{"index":0,"id":"' + bad + b'","type":"function","function":{"name":"search","arguments":"{\\"pattern\\":\\"' + bad + b'\\"}"}}')
        first = stream(b'data: {"choices":[{"index":0,"delta":{"tool_calls":[' + call + b']},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n')
        done, out, model = self.ask([first, text("ok")])
        self.assertEqual((done.code, out["text"]), (0, "ok"), done)
        sent = json.loads(model.requests[1].raw.decode("utf-8"))["messages"][-2:]
        self.assertEqual(sent[0]["tool_calls"][0]["id"], sent[1]["tool_call_id"])

    def test_one_hundred_megabytes(self):
        event = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"y" * 1000 + b'"}}]}\n\n'
        for label, answer, said in (
            ("one line of a stream", stream(b'data: {"choices":[{"index":0,"delta":{"content":"', *[MEGABYTE] * 100, b'"}}]}\n\n'), "too long"),
            ("a comment", stream(b":", *[MEGABYTE] * 100, b"\n\n"), "too long"),
            ("the name of a field", stream(*[MEGABYTE] * 100, b": 1\n\n"), "too long"),
            ("data of many lines", stream(*[b"data: " + MEGABYTE + b"\n"] * 100, b"\n"), "too long"),
            ("very many events", stream(*[event * 1000] * 100), "too long"),
            ("one JSON text", Reply([b'{"choices":[{"message":{"content":"', *[MEGABYTE] * 100, b'"}}]}']), "too long"),
            ("one JSON text of white space", Reply([b" " * (1 << 20)] * 100), "too long|empty|model's answer"),
            ("a page", Reply([b"<html>", *[MEGABYTE] * 100], kind="text/html"), "html"),
            ("an error", Reply([MEGABYTE] * 100, 500, kind="text/plain"), "500"),
            ("an error in JSON", Reply([b'{"error":{"message":"', *[MEGABYTE] * 100, b'"}}'], 400), "400"),
        ):
            with self.subTest(label):
                self.refused([answer], said, requests=1, code=2 if label == "a page" else 6)

    def headers(self, headers):
        self.refused([Reply(b"no", 500, headers, length=True)], "127.0.0.1|header")

    def test_headers_of_nonsense(self):
        for label, headers in (("many", {f"X-{n}": "y" * 1000 for n in range(600)}), ("no type", {"Content-Type": ""}), ("bytes", {"X-Odd": "\x80\xff\x1b[31m"}),
                               ("not so long", {"X-Long": "y" * 60_000})):
            with self.subTest(label):
                self.headers(headers)

    def test_header_line_of_two_hundred_kilobytes(self):
        self.headers({"X-Long": "y" * 200_000})


class Silence(Server):
    """Nothing for minutes; a minute is a second here."""
    QUICK = "retries = 0, first_byte_seconds = 1, stall_seconds = 1,"

    def test_silence_is_an_error_that_says_so(self):
        begun = chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "file_list", "arguments": "{"}}]})
        for label, answer in (("after the headers", Reply([threading.Event()], kind="text/event-stream")), ("within the text", text("first part", pause=threading.Event())),
                              ("within a call", stream(b"data: " + json.dumps(begun).encode() + b"\n\n", threading.Event())),
                              ("within a line", stream(b'data: {"choices":[', threading.Event())), ("within a body", Reply([b'{"choices":[', threading.Event()])),
                              ("within an error", Reply([b'{"error":', threading.Event()], 500))):
            with self.subTest(label):
                self.refused([answer], "127.0.0.1", "sent nothing|500", fields=self.QUICK)

    def test_silence_before_the_headers(self):
        with socket.create_server(("127.0.0.1", 0)) as listening:  # the kernel takes the connection, nobody reads
            done = self.moonlet("run", self.agent(self.QUICK), "go", "-m", "custom/mock", "--output", "json",
                                env=self.environment(MOONLET_BASE_URL=f"http://127.0.0.1:{listening.getsockname()[1]}/v1"))
        self.assertEqual((done.code, done.json()["stop_reason"]), (6, "provider_unavailable"), done)
        self.assertRegex(done.json()["error"], "127.0.0.1.*nothing|nothing.*127.0.0.1")

    def test_a_stall_is_tried_as_often_as_the_agent_says(self):
        done, out, model = self.ask(lambda request: text("first part", pause=threading.Event()), fields="retries = 1, first_byte_seconds = 60, stall_seconds = 1,")
        self.assertEqual((done.code, out["text"], len(model.requests)), (6, "", 2), done)

    def test_silence_is_bounded_by_the_limit_of_the_run_too(self):
        done, out, model = self.ask([text("first part", pause=threading.Event())], "--limit", "seconds=1")
        self.assertEqual((done.code, out["stop_reason"]), (124, "limit_seconds"), done)


class HostileCalls(Server):
    def test_arguments_that_are_too_much_for_a_tool(self):
        """From a model, and from the command line: told, not run, and the run goes on."""
        deep = '{"pattern":' + "[" * 10_000 + "1" + "]" * 10_000 + "}"
        objects = '{"pattern":' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}"
        unfinished = '{"pattern":' + "[" * 10_000
        huge = json.dumps({"pattern": "x" * 10_000_000})
        wide = json.dumps({f"k{n}": n for n in range(500_000)})
        for label, arguments in (("deep", deep), ("deep objects", objects), ("deep and unfinished", unfinished), ("ten megabytes", huge), ("ten megabytes of names", wide)):
            with self.subTest(label):
                done, out, model = self.ask([Answer(None, [("search", arguments, "it")]), text("sorry")])
                self.assertEqual((done.code, out["text"]), (0, "sorry"), done)
                told = model.requests[1].messages[-1]
                self.assertEqual(told["tool_call_id"], "it")
                self.assertRegex(told["content"], "(?i)deep|nest|JSON|at most|MiB|long")
                self.assertLess(len(told["content"]), 64 << 10)
                called = self.moonlet("call", "search", "-", input=arguments)
                self.assertEqual((called.code, called.out), (2, ""), called)
                self.assertLess(len(called.err), 64 << 10)

    def test_ids_that_are_the_same(self):
        """In one message, also where a made-up id would be taken already; each result goes to its call."""
        for name in "abcdef":
            self.file(f"{name}.txt", f"content of {name}\n")
        for label, ids in (("all the same", "xxxxxx"), ("with what could be made up", ("x", "x", "call_1", "call_2", "call_3", "x")), ("empty", ("",) * 6),
                           ("long", ("y" * 1000,) * 6)):
            with self.subTest(label):
                wanted = [("file.read", {"path": f"{name}.txt"}, ids[at]) for at, name in enumerate("abcdef")]
                done, _, model = self.ask([calls(*wanted), text("ok")])
                self.assertEqual(done.code, 0, done)
                said, *told = model.requests[1].messages[-7:]
                made = [call["id"] for call in said["tool_calls"]]
                self.assertEqual((len(set(made)), all(made)), (6, True), made)
                self.assertEqual([message["tool_call_id"] for message in told], made)
                for name, message in zip("abcdef", told):
                    self.assertIn(f"content of {name}", message["content"])

    def test_what_is_longer_than_any_call_is_an_error(self):
        for label, call in (("an id", ("search", {"pattern": "x"}, "y" * 100_000)), ("a name", ("s" * 100_000, {}, "x")),
                            ("arguments", ("search", {"pattern": "x" * 12_000_000}, "x"))):
            with self.subTest(label):
                self.refused([calls(call)], "too long", requests=1)

    def test_same_id_in_two_messages(self):
        self.file("a.txt", "alpha\n")
        done, out, model = self.ask([calls(("file.read", {"path": "a.txt"}, "x")), calls(("file.list", {}, "x")), text("ok")])
        self.assertEqual((done.code, out["text"]), (0, "ok"), done)
        roles = [(m["role"], m.get("tool_call_id") or [c["id"] for c in m.get("tool_calls", [])]) for m in model.requests[2].messages[2:]]
        for (role, made), (_, answered) in zip(roles[::2], roles[1::2]):
            self.assertEqual((role, made), ("assistant", [answered]))
        self.assertIn("alpha", model.requests[2].messages[3]["content"])
        self.assertIn("a.txt", model.requests[2].messages[5]["content"])


if __name__ == "__main__":
    harness.main()
