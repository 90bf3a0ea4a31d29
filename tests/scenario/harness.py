# SPDX-License-Identifier: MIT
"""What the scenario tests share: a temporary directory per test and a clean way to run the binary.

The environment of a run is built from nothing, so that no key, proxy or setting of the machine reaches a test: HOME and
the XDG directories are temporary, and only what a program needs to run at all (and the sanitizers' options) is kept.

    class Things(harness.Case):
        def test_one(self):
            done = self.moonlet("run", "brief", cwd=self.dir)
            self.assertEqual(done.code, 0, done)

    if __name__ == "__main__":
        harness.main()
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("MOONLET_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
KEPT = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH", "ASAN_SYMBOLIZER_PATH")
# Generous: a sanitized build on a loaded machine. A test that reaches it has failed.
PATIENCE = 120


def binary():
    path = os.environ.get("MOONLET")
    if not path:
        sys.exit("MOONLET must name the moonlet binary")
    return os.path.abspath(path)


def clean_environment(home):
    """An environment without anything of the machine's user in it."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env.update(
        HOME=home,
        LANG="C.UTF-8",
        TZ="UTC",
        TERM="dumb",
        TMPDIR=os.path.join(home, "tmp"),
        XDG_CONFIG_HOME=os.path.join(home, "config"),
        XDG_DATA_HOME=os.path.join(home, "data"),
        XDG_STATE_HOME=os.path.join(home, "state"),
        XDG_CACHE_HOME=os.path.join(home, "cache"),
        XDG_RUNTIME_DIR=os.path.join(home, "runtime"),
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
    )
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        os.makedirs(env[name], mode=0o700, exist_ok=True)
    return env


class Done:
    """How a run of the binary ended. out and err are text with bad bytes shown as escapes; raw_out is what came."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.raw_out, self.raw_err = args, code, out, err
        self.out = out.decode("utf-8", "backslashreplace")
        self.err = err.decode("utf-8", "backslashreplace")

    def json(self):
        """The object of --output json."""
        try:
            return json.loads(self.raw_out)
        except ValueError as error:
            raise AssertionError(f"stdout is no JSON ({error}): {self}") from None

    def events(self, kind=None):
        """The lines of --output stream-json, or those of one type."""
        try:
            lines = [json.loads(line) for line in self.raw_out.split(b"\n") if line]
        except ValueError as error:
            raise AssertionError(f"a line of stdout is no JSON ({error}): {self}") from None
        return [line for line in lines if kind is None or line["type"] == kind]

    def __str__(self):
        return f"{' '.join(map(str, self.args))}\nexit {self.code}\n--- stdout\n{self.out[-6000:]}\n--- stderr\n{self.err[-6000:]}"


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="moonlet-test-")
        self.addCleanup(self._remove)
        self.home = os.path.join(self.dir, ".home")
        os.mkdir(self.home)
        self.work = os.path.join(self.dir, "work")
        os.mkdir(self.work)
        self.env = clean_environment(self.home)

    def _remove(self):
        for root, dirs, _ in os.walk(os.fsencode(self.dir)):
            for name in dirs:
                path = os.path.join(root, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(os.fsencode(self.dir))

    def file(self, path, content, mode=None):
        """Writes a file beneath the working directory of the test; gives its absolute path."""
        full = os.path.join(os.fsencode(self.work), os.fsencode(path))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            os.chmod(full, mode)
        return os.fsdecode(full)

    def environment(self, model=None, **more):
        """The environment of a run; model is a MockModel that is reached as provider "custom"."""
        env = dict(self.env)
        if model is not None:
            env["MOONLET_BASE_URL"] = model.url
        env.update(more)
        return env

    def start(self, *args, cwd=None, env=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more):
        """Starts the binary in a process group of its own. It is killed at the end of the test if it is still there."""
        process = subprocess.Popen(
            [binary(), *args], cwd=cwd or self.work, env=env or self.env, stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True, **more,
        )

        def end():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream and not stream.closed:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass

        self.addCleanup(end)
        return process

    def finish(self, process, input=None, timeout=PATIENCE):
        """Waits for a started process; gives its Done."""
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)
            out, err = process.communicate()
            self.fail(f"did not end in {timeout} s: {Done(process.args, 'none', out or b'', err or b'')}")
        return Done(process.args, process.returncode, out or b"", err or b"")

    def moonlet(self, *args, input=None, timeout=PATIENCE, **options):
        """Runs the binary to its end. input is bytes or text for stdin; without it stdin is /dev/null."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
            input = input.encode() if isinstance(input, str) else input
        return self.finish(self.start(*args, **options), input, timeout)

    def run_agent(self, model, script, *args, input=None, env=None, **options):
        """Runs a script or shipped agent with a MockModel, as JSON; gives (Done, the object)."""
        done = self.moonlet(
            "run", script, *args, "-m", "custom/mock", "--output", "json",
            input=input, env=self.environment(model, **(env or {})), **options,
        )
        return done, done.json()

    def agent(self, text="", name="probe", tools='"file", "search"', body=""):
        """Writes a one-agent script; text is further fields of the agent, body Lua before it."""
        return self.file(
            f".agents/{name}.lua",
            f'local moon = require "moonlet"\n{body}\n'
            f'return moon.agent {{ name = "{name}", instructions = "Do as you are told.", tools = {{ {tools} }}, {text} }}\n',
        )


def main():
    unittest.main(verbosity=2 if "-v" in sys.argv else 1)
