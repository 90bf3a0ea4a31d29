# SPDX-License-Identifier: MIT
"""A run of the binary on a terminal of its own, and what may not be written to one.

    code, seen = terminal.run(self, "call", "git.status", "{}", cwd=…)     # to its end; seen: the bytes, "\r\n" as "\n"
    screen = terminal.Screen(self, "run", …)                               # to type at, or to hang up
"""
import fcntl
import os
import pty
import re
import select
import termios
import time

import harness

# What moonlet itself writes where there are no colours: the return to the beginning of a line, to draw it anew.
OURS = re.compile(rb"\r(\x1b\[K)?")


class Screen:
    """stdin, stdout and stderr are the terminal, and it controls the process: a typed Ctrl-C is a SIGINT. Without colours, so that a
    colour on it is somebody else's."""

    def __init__(self, case, *args, env=None, **options):
        self.case, self.seen = case, b""
        self.master, slave = pty.openpty()
        self.open = True
        case.addCleanup(self.hang_up)
        self.process = case.start(*args, stdin=slave, stdout=slave, stderr=slave, env=dict(env or case.env, TERM="xterm-256color", NO_COLOR="1"),
                                  preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **options)
        os.close(slave)

    def read(self, seconds):
        """Reads what is there; False at the end, when nobody has the terminal open any more."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += piece
        return bool(piece)

    def type(self, keys):
        os.write(self.master, keys)

    def wait_for(self, found, what, seconds=harness.PATIENCE):
        """Reads until found() is true."""
        end = time.monotonic() + seconds
        while not found():
            if time.monotonic() > end or not self.read(0.02):
                self.case.fail(f"{what} did not come; the screen: {self.seen!r}")

    def end(self, seconds=harness.PATIENCE):
        limit = time.monotonic() + seconds
        while self.read(0.1):
            if time.monotonic() > limit:
                self.case.fail(f"did not end; the screen: {self.seen!r}")
        return self.process.wait(timeout=seconds), self.seen.replace(b"\r\n", b"\n")

    def hang_up(self):
        if self.open:
            os.close(self.master)
            self.open = False


def run(case, *args, **options):
    screen = Screen(case, *args, **options)
    ended = screen.end()
    screen.hang_up()
    return ended


def raw(seen):
    """The characters in what a terminal got that it would obey, that turn text round, or that are no UTF-8."""
    text = OURS.sub(b"", seen).decode("utf-8", "surrogateescape")
    return sorted({f"U+{ord(c):04X}" for c in text if (ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0
                   or 0x202A <= ord(c) <= 0x202E or 0x2066 <= ord(c) <= 0x2069 or 0xDC80 <= ord(c) <= 0xDCFF})
