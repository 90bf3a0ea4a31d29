# SPDX-License-Identifier: MIT
"""A scripted model behind HTTP: an OpenAI-compatible chat completions server on loopback.

    with MockModel([calls(("file.read", {"path": "a"})), text("done")]) as model:
        … run moonlet with MOONLET_BASE_URL = model.url …
    model.requests[1].messages[-1]      # what the model was told

The script is a list of answers, one per request, or a function from a Request to an answer. An answer is a Reply, a str
(its text) or a function from the Request to one of these. Leaving the `with` block fails if answers are left over or if more
was asked than the script holds. Nothing here sleeps: an answer that is to hang waits for an Event of the test.
"""
import http.server
import itertools
import json
import socket
import struct
import threading

CUT = object()  # in a body: the connection is reset here
END = object()  # in a body: the connection is closed here, in order, but before its time
LONGEST_WAIT = 120
_numbers = itertools.count(1)


def wire(name):
    """A tool's name as it stands on the wire."""
    return name.replace(".", "_")


class Request:
    def __init__(self, method, path, headers, raw):
        self.method, self.path, self.headers, self.raw = method, path, headers, raw
        self.json = json.loads(raw) if raw else None

    @property
    def messages(self):
        return self.json["messages"]

    def results(self):
        """The tool messages after the last assistant message: id → content, in order."""
        found = {}
        for message in reversed(self.messages):
            if message["role"] == "assistant":
                break
            if message["role"] == "tool":
                found[message["tool_call_id"]] = message["content"]
        return dict(reversed(found.items()))

    def tool_names(self):
        return [tool["function"]["name"] for tool in self.json.get("tools") or []]


class Reply:
    """One HTTP response. body is bytes or a list of bytes, Events (waited for) and CUT or END. length: send a
    Content-Length instead of chunks; only for bytes."""

    def __init__(self, body, status=200, headers=None, kind="application/json", length=False):
        self.body = [body] if isinstance(body, bytes) else list(body)
        self.status, self.headers, self.kind, self.length = status, headers or {}, kind, length


class Answer:
    """A well-formed answer of the model, encoded as the request wants it (stream or not)."""

    def __init__(self, text=None, calls=(), finish=None, usage=(9, 5), cut=None, reasoning=None, pause=None, model="mock"):
        self.text, self.calls, self.usage, self.cut, self.reasoning = text, list(calls), usage, cut, reasoning
        self.finish = finish if finish is not None else ("tool_calls" if self.calls else "stop")
        self.pause, self.model = pause, model

    def usage_object(self):
        if self.usage is None:
            return None
        given, written = self.usage[:2]
        usage = {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}
        if len(self.usage) > 2:
            usage["prompt_tokens_details"] = {"cached_tokens": self.usage[2]}
        return usage

    def chunk(self, delta, finish=None, **more):
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": self.model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    def chunks(self):
        yield self.chunk({"role": "assistant", "content": ""})
        if self.reasoning:
            yield self.chunk({"reasoning_content": self.reasoning})
        for piece in pieces(self.text or "", 7):
            yield self.chunk({"content": piece})
        for index, call in enumerate(self.calls):
            yield self.chunk({"tool_calls": [{"index": index, "id": call[2], "type": "function",
                                              "function": {"name": call[0], "arguments": ""}}]})
            for piece in pieces(call[1], max(11, len(call[1]) // 50)):
                yield self.chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield self.chunk({}, self.finish or None)
        if self.usage is not None:
            yield {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": self.model, "choices": [],
                   "usage": self.usage_object()}

    def stream(self):
        parts = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in self.chunks()] + [b"data: [DONE]\n\n"]
        if self.pause is not None:  # hangs after the first content
            parts.insert(2, self.pause)
        elif self.cut:  # bytes are cut anywhere
            whole = b"".join(parts)
            parts = [whole[at:at + self.cut] for at in range(0, len(whole), self.cut)]
        return Reply(parts, kind="text/event-stream")

    def whole(self):
        message = {"role": "assistant", "content": self.text}
        if self.calls:
            message["tool_calls"] = [{"id": call[2], "type": "function", "function": {"name": call[0], "arguments": call[1]}}
                                     for call in self.calls]
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": self.model,
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish}], "usage": self.usage_object()}
        return Reply(json.dumps(body).encode(), length=True)


def pieces(text, size):
    return [text[at:at + size] for at in range(0, len(text), size)]


def text(content, **options):
    """An answer of text only."""
    return Answer(content, **options)


def calls(*wanted, content=None, **options):
    """An answer with tool calls: each (name, arguments[, id]); arguments a dict, or text as the model would write it."""
    made = []
    for call in wanted:
        arguments = call[1] if isinstance(call[1], str) else json.dumps(call[1])
        made.append((wire(call[0]), arguments, call[2] if len(call) > 2 else f"call_{next(_numbers)}"))
    return Answer(content, made, **options)


def failure(status, message="no", code=None, **headers):
    """An error as the API words it; headers with _ for -."""
    body = {"error": {"message": message, "type": "test_error", "code": code, "param": None}}
    return Reply(json.dumps(body).encode(), status, {name.replace("_", "-"): value for name, value in headers.items()}, length=True)


def events(*objects, done=True, tail=()):
    """A stream of given objects (or raw bytes)."""
    parts = [part if isinstance(part, bytes) else b"data: " + json.dumps(part).encode() + b"\n\n" for part in objects]
    return Reply(parts + ([b"data: [DONE]\n\n"] if done else []) + list(tail), kind="text/event-stream")


class Server(http.server.ThreadingHTTPServer):
    """Clients may go away and handshakes fail as they like."""
    daemon_threads, request_queue_size = True, 256

    def handle_error(self, request, client_address):
        pass


class MockModel:
    def __init__(self, script):
        self.script = script if callable(script) else list(script)
        self.requests, self.problems = [], []
        self.arrived = threading.Semaphore(0)  # one release per request
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), self._handler())
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wrap(self, context):
        """Speaks TLS from here on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if kind is None:
            assert not self.problems, self.problems
            left = 0 if callable(self.script) else len(self.script) - len(self.requests)
            assert left <= 0, f"{left} answers of the script were not asked for"

    def wait_request(self, timeout=60):
        assert self.arrived.acquire(timeout=timeout), "no request came"

    def _answer(self, request):
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
        if callable(self.script):
            answer = self.script(request)
        elif number < len(self.script):
            answer = self.script[number]
        else:
            self.problems.append(f"request {number + 1} came, the script has {len(self.script)} answers")
            return failure(400, "the script has run out")
        while callable(answer) and not isinstance(answer, (Answer, Reply)):
            answer = answer(request)
        answer = Answer(answer) if isinstance(answer, str) else answer
        if isinstance(answer, Answer):
            answer = answer.stream() if request.json.get("stream") else answer.whole()
        return answer

    def _handler(mock):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 0

            def log_message(self, *_):
                pass

            def do_POST(self):
                try:
                    raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    reply = mock._answer(Request(self.command, self.path, dict(self.headers.items()), raw))
                except Exception as error:  # a fault of the script must fail the test, not only this thread
                    mock.problems.append(repr(error))
                    reply = failure(400, repr(error))
                mock.arrived.release()
                try:
                    self.send(reply)
                except OSError:
                    self.close_connection = True  # the client went away; what that means is the test's to say

            do_GET = do_POST

            def send(self, reply):
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.kind)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.length:
                    self.send_header("Content-Length", str(sum(map(len, reply.body))))
                else:
                    self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in reply.body:
                    if part is CUT or part is END:
                        return self.hang_up(part is CUT)
                    if isinstance(part, threading.Event):
                        self.hold(part)
                    elif part:
                        self.wfile.write(part if reply.length else b"%x\r\n%s\r\n" % (len(part), part))
                if not reply.length:
                    self.wfile.write(b"0\r\n\r\n")

            def hold(self, event):
                for _ in range(LONGEST_WAIT * 20):
                    if event.wait(0.05) or mock.closing.is_set():
                        return

            def hang_up(self, reset):
                if reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.rfile.close()  # it holds the socket open
                self.connection.close()

        return Handler
