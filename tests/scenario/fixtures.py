# SPDX-License-Identifier: MIT
"""Git repositories for tests, made by the git program with fixed authors and dates: the same ids on every machine."""
import os
import subprocess

ANN = ("Ann Ames", "ann@example.org")
BOB = ("Bob Bø", "bob@example.org")
CY = ("Cy Czerny", "cy@example.org")
DAY = 86400
START = 1_700_006_400  # 2023-11-15 00:00:00 UTC


class Repo:
    """A repository and a clock that goes on a day with each commit."""

    def __init__(self, path, env, init=True, bare=False):
        self.path, self.env, self.now = str(path), env, START
        if init:
            os.makedirs(self.path, exist_ok=True)
            self.git("init", "-q", "-b", "main", *(["--bare"] if bare else []))

    def run(self, *args, author=ANN, input=None, check=True):
        date = f"{self.now} +0200"
        env = dict(self.env, GIT_AUTHOR_NAME=author[0], GIT_AUTHOR_EMAIL=author[1], GIT_COMMITTER_NAME=author[0],
                   GIT_COMMITTER_EMAIL=author[1], GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)
        done = subprocess.run(["git", "-c", "core.quotePath=false", *args], cwd=self.path, env=env, input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if check and done.returncode:
            raise AssertionError(f"git {args} failed: {done.stderr.decode(errors='replace')}")
        return done

    def git(self, *args, **options):
        """The output of a git command, as text without its last newline."""
        return os.fsdecode(self.run(*args, **options).stdout).rstrip("\n")

    def lines(self, *args, **options):
        return self.git(*args, **options).splitlines()

    def write(self, path, content):
        full = os.path.join(os.fsencode(self.path), os.fsencode(path))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)

    def read(self, path):
        with open(os.path.join(os.fsencode(self.path), os.fsencode(path)), "rb") as source:
            return source.read()

    def add_line(self, path, line):
        self.write(path, self.read(path) + line.encode() + b"\n")

    def commit(self, message, author=ANN, days=1):
        """Commits all there is; gives the full id."""
        self.now += days * DAY
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, author=author)
        return self.git("rev-parse", "HEAD")

    def has(self, commit):
        return self.run("cat-file", "-e", commit + "^{commit}", check=False).returncode == 0


def lines(count, word="line"):
    return "".join(f"{word} {number}\n" for number in range(1, count + 1))


def harbour(path, env):
    """A small project with what a brief looks for: areas, authors, a merge, renames, a revert, fixes, work marks of several ages,
    files that change together, and names that are not ASCII."""
    repo = Repo(path, env)
    repo.write("README.md", "[![build](https://example.org/b.svg)](https://example.org)\n\n# Harbour\n\n"
               "Harbour keeps track of ships and their berths.\nIt runs on a small computer.\n\n## Use\n\nRun it.\n")
    repo.write("src/core.c", "/* TODO: split the table */\n" + lines(300, "int core;"))
    repo.write("src/berth.c", lines(40, "int berth;"))
    repo.write("src/old_name.c", lines(60, "int mover;"))
    repo.write("Makefile", "all:\n\tcc src/*.c\n")
    repo.commit("harbour: begin", ANN)
    repo.write("docs/guide.md", "# Guide\n\n" + lines(20, "text"))
    repo.write("docs/søren – notes.txt", "FIXME: say who Søren is\n" + lines(5, "note"))
    repo.commit("docs: guide and notes", BOB, days=10)
    for number in range(6):
        repo.add_line("src/core.c", f"int more_{number};")
        repo.commit(f"core: grow {number}", ANN if number % 3 else BOB)
    repo.git("mv", "src/old_name.c", "src/mover.c")
    repo.commit("src: call it mover", CY)
    repo.write("tools/gen.py", "# FIXME make it fast\n" + lines(30, "print"))
    for number in range(5):
        repo.add_line("tools/gen.py", f"print('gen {number}')")
        repo.add_line("src/mover.c", f"int gen_{number};")
        repo.commit(f"fix: generated table {number} was wrong" if number < 3 else f"gen: table {number}", CY)
    repo.git("checkout", "-q", "-b", "side")
    repo.write("tests/test_core.c", lines(25, "check"))
    repo.add_line("src/core.c", "int tested;")
    repo.commit("core: a test", BOB)
    repo.git("checkout", "-q", "main")
    repo.add_line("docs/guide.md", "More. TODO: a picture")
    repo.commit("docs: more", BOB)
    repo.now += DAY
    repo.git("merge", "-q", "--no-ff", "-m", "Merge branch 'side'", "side")
    repo.add_line("src/berth.c", "int gate;")
    bad = repo.commit("berth: a gate", BOB)
    repo.now += DAY
    repo.git("revert", "--no-edit", bad)
    repo.write("web/index.html", "<p>TODO</p>\n")
    repo.commit("web: a page", CY, days=30)
    return repo


# Names that no tool may pass on as they are: (bytes of the name, how git quotes it).
STRANGE = (b"latin-\xe9.txt", b"new\nline.c", b"esc-\x1b[31mred.txt", b'quote"and\\slash.md', b"tab\there.py", b"-dash.sh", b"back`tick`.rs",
           "rtl-\u202egnp.exe".encode(), b"dir \x07bell/in.txt", b"glob[a]{b,c}*?.txt")


def strange(path, env):
    """A repository whose file names, author and messages try to get at the terminal and the parser."""
    repo = Repo(path, env)
    for name in STRANGE:
        repo.write(name, b"TODO in a strange place\n" + lines(5).encode())
    repo.commit("first \x1b[2J and \u202e more `code` <b>", ("Eve \x1b]0;x\x07 `E`", "eve@example.org"))
    for number in range(3):
        for name in STRANGE:
            repo.write(name, repo.read(name) + b"more %d\n" % number)
        repo.commit(f"again {number}")
    return repo


def huge(path, env, files=50_000, commits=20):
    """A repository of very many files, written by git fast-import: file bodies are one blob, so that it is made in a moment."""
    repo = Repo(path, env)
    blob = b"/* the same TODO */\n"
    stream = [b"blob\nmark :1\ndata %d\n%s\n" % (len(blob), blob)]
    name = b"Ann Ames <ann@example.org>"
    stream.append(b"commit refs/heads/main\nmark :2\ncommitter %s %d +0000\ndata 11\nmany files\n\n" % (name, START))
    stream += [b"M 100644 :1 area%02d/d%03d/file%05d.c\n" % (n % 25, n // 250, n) for n in range(files)]
    for number in range(commits):
        body = b"change %02d\n" % number
        stream.append(b"commit refs/heads/main\ncommitter %s %d +0000\ndata %d\n%s" % (name, START + DAY * (number + 1), len(body), body))
        stream.append(b"M 100644 inline area%02d/hot.c\ndata %d\n%s\n" % (number % 3, len(body) * (number + 1), body * (number + 1)))
    stream.append(b"done\n")
    repo.git("fast-import", "--quiet", "--done", input=b"".join(stream))
    repo.git("-c", "core.fsync=none", "-c", "checkout.workers=2", "reset", "-q", "--hard", "main")
    return repo
