# SPDX-License-Identifier: MIT
"""Kills a run at every moment there is, resumes it, and looks at what it did to the world.

    kill.py DRIVER [--script NAME] [--every N] [--random N] [--seed S]

After every kill and resume: the final text is the one of a run that was not killed; each effect was made exactly once,
or its outcome was reported as unknown (the kill fell between the intent and the result) and it was made at most once.
Where snapshots of the workspace are taken: each that the journal tells of is in the repository, and the last one is the
workspace as it is. Where agents have worktrees: the work of each is in the base, in one commit, and no worktree is left.
Then the controls, which have to be caught: calls of unknown outcome made again blindly, and a store that does not check
the sequence."""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scenario"))
import journal_rows  # noqa: E402

EFFECTS = [f"e{n}" for n in range(1, 13)]
TEXTS = {
    "sweep.lua": "first ended; left ended, right ended, nested: deep ended; last ended\n",
    "chain.lua": "12: first, each, each, left, right, won\n",
}
TREES = "1 ended, 2 ended, 3 ended\n"


class World:
    """A workspace with a journal."""

    def __init__(self, driver, script, root):
        self.driver, self.script, self.dir = driver, script, tempfile.mkdtemp(dir=root)
        self.env = dict(os.environ, HOME=self.dir, MOONLET_JOURNAL="off")

    def start(self, *args):
        return subprocess.Popen([self.driver, args[0], "journal.db", HERE / self.script, *args[1:]], cwd=self.dir, env=self.env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *args):
        process = self.start(*args)
        out, err = process.communicate(timeout=120)
        return process.returncode, out.decode(), err.decode()

    def git(self, *args, **more):
        env = dict(self.env, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", **more)
        return subprocess.run(["git", *args], cwd=self.dir, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout.decode().strip()

    def snapshots(self):
        """Bodies of snapshot.taken in the order of the journal."""
        with sqlite3.connect(f"file:{self.dir}/journal.db?mode=ro", uri=True) as db:
            bodies = [json.loads(r["body"]) for r in sorted(journal_rows.records(db), key=lambda r: r["seq"])]
        return [body for body in bodies if "ref" in body and "tree" in body]

    def log(self):
        path = pathlib.Path(self.dir, "log")
        return collections.Counter(path.read_text().split()) if path.exists() else collections.Counter()

    def exists(self):
        """Did the run's first record become durable? Before that, nothing was promised, and nothing done."""
        try:
            with sqlite3.connect(f"file:{self.dir}/journal.db?mode=ro", uri=True) as db:
                return db.execute("SELECT count(*) FROM runs").fetchone()[0] > 0
        except sqlite3.Error:
            return False

    def unknown(self):
        """Effects whose outcome the journal gives as unknown."""
        found = set()
        with sqlite3.connect(f"file:{self.dir}/journal.db?mode=ro", uri=True) as db:
            bodies = [(r["path"], r["key"], json.loads(r["body"])) for r in journal_rows.records(db)]
        names = {(path, key): body["arguments"]["name"] for path, key, body in bodies
                 if body.get("tool") == "effect" and "name" in body.get("arguments", {})}
        for path, key, body in bodies:
            if body.get("unknown") and (path, key) in names:
                found.add(names[path, key])
        return found


class Sweep:
    def __init__(self, driver, script, root, seed):
        self.driver, self.script, self.root, self.random = driver, script, root, random.Random(seed)
        self.text = TEXTS[script]
        self.kills = self.resumes = self.unknown = 0
        self.wrong = []

    def world(self):
        return World(self.driver, self.script, self.root)

    def settle(self, world, label, *resume):
        """Resumes until it is done, then checks."""
        if not world.exists():
            if world.log():
                self.wrong.append(f"{label}: something was done before the run existed: {dict(world.log())}")
            return
        for _ in range(4):
            code, out, err = world.run("resume", *resume)
            self.resumes += 1
            if code == 0 or "is finished" in err:
                break
        else:
            self.wrong.append(f"{label}: could not be resumed: {code} {err.strip()}")
            return
        unknown, log = world.unknown(), world.log()
        self.unknown += len(unknown)
        if "is finished" not in err and out != self.text:
            self.wrong.append(f"{label}: ended with {out!r}")
        for effect in EFFECTS:
            allowed = (0, 1) if effect in unknown else (1,)
            if log[effect] not in allowed:
                self.wrong.append(f"{label}: {effect} was made {log[effect]} times{' (unknown)' if effect in unknown else ''}")

    def killed(self, label, *args):
        world = self.world()
        code, _, err = world.run("start", *args)
        if code == -signal.SIGKILL:
            self.kills += 1
            self.settle(world, label)
        elif code != 0:
            self.wrong.append(f"{label}: {code} {err.strip()}")
        return code == -signal.SIGKILL

    def twice(self, label, first, second):
        """The process that resumes is killed too."""
        world = self.world()
        self.kills += world.run("start", "--kill-append", f"{first}:after")[0] == -signal.SIGKILL
        if world.exists():
            self.kills += world.run("resume", "--kill-append", f"{second}:before")[0] == -signal.SIGKILL
        self.settle(world, label)

    def at_random(self, label, longest):
        world = self.world()
        process = world.start("start")
        time.sleep(self.random.uniform(0, longest))
        process.kill()
        process.communicate()
        self.kills += process.returncode == -signal.SIGKILL
        self.settle(world, label)

    def every(self, appends, stride):
        for n in range(1 + self.random.randrange(stride), appends + 1, stride):
            for when in ("before", "after"):
                self.killed(f"append {n} {when}", "--kill-append", f"{n}:{when}")
        for n in range(1, len(EFFECTS) + 1):
            for when in ("before", "after"):
                if stride == 1 or self.random.randrange(stride) == 0:
                    self.killed(f"effect {n} {when}", "--kill-effect", f"{n}:{when}")


def check_snapshots(world):
    """What is wrong with them; None: nothing."""
    taken = world.snapshots()
    if not taken:
        return "there is none"
    for body in taken:
        if world.git("rev-parse", body["ref"]) != body["commit"]:
            return f"{body['ref']} is another one"
    world.git("fsck", "--strict")
    index = os.path.join(world.dir, ".git", "reference")
    world.git("add", "log", GIT_INDEX_FILE=index)
    now = world.git("write-tree", GIT_INDEX_FILE=index)
    return None if taken[-1]["tree"] == now else f"the last one is {taken[-1]}, the workspace {now}"


def with_snapshots(sweep, stride):
    """Killed around each snapshot, and around appends, in a workspace that is a repository."""
    def world():
        w = sweep.world()
        w.git("init", "-q")
        return w

    whole = world()
    code, out, err = whole.run("start", "--snapshots", "--count")
    wrong = check_snapshots(whole)
    if code != 0 or out != sweep.text or wrong:
        sweep.wrong.append(f"snapshots of a run that nobody kills: {code} {out!r} {err} {wrong}")
        return
    appends, takes = (int(re.search(rf"{what} (\d+)", err).group(1)) for what in ("appends", "snapshots"))
    moments = [("snapshot", n) for n in range(1 + sweep.random.randrange(stride), takes + 1, stride)]
    moments += [("append", n) for n in range(1 + sweep.random.randrange(stride), appends + 1, stride * 2)]
    for what, n in moments:
        for when in ("before", "after"):
            w, label = world(), f"with snapshots, {what} {n} {when}"
            code, _, err = w.run("start", "--snapshots", f"--kill-{what}", f"{n}:{when}")
            sweep.kills += code == -signal.SIGKILL
            sweep.settle(w, label)
            wrong = check_snapshots(w) if w.exists() else None
            if wrong:
                sweep.wrong.append(f"{label}: {wrong}")


def check_trees(world):
    """What is wrong with the work of agents that had worktrees; None: it is there, each once, and nothing else is."""
    files = world.git("ls-tree", "-r", "--name-only", "HEAD").split()
    wanted = [f"lines/{n}/shared" for n in (1, 2, 3)] + [f"own{n}" for n in (1, 2, 3)]
    if files != wanted:
        return f"HEAD has {files}"
    if world.git("status", "--porcelain", "--untracked-files=no"):
        return "the work tree is not as HEAD"
    commits = world.git("log", "--no-merges", "--format=%s").splitlines()
    if sorted(commits) != ["a1: go", "a2: go", "a3: go", "begin"]:
        return f"the commits are {commits}"
    left = [world.git("for-each-ref", "refs/heads/moonlet"), len(world.git("worktree", "list").splitlines()),
            [name for name in os.listdir(os.path.dirname(world.dir)) if name.startswith(os.path.basename(world.dir) + "-")]]
    if left != ["", 1, []]:
        return f"left are {left}"
    world.git("fsck", "--strict")
    return None


def with_trees(sweep, stride):
    """Killed around all that is done to worktrees, and around appends; the process that resumes is killed too."""
    def world():
        w = sweep.world()
        w.script = "trees.lua"
        w.git("init", "-q", "-b", "main")
        w.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "begin")
        return w

    def settle(w, label):
        for _ in range(4):
            code, out, err = w.run("resume", "--unknown", "retry")
            sweep.resumes += 1
            if code == 0 or "is finished" in err:
                break
        wrong = check_trees(w) if code == 0 or "is finished" in err else f"{code} {err.strip()}"
        if wrong or (code == 0 and out != TREES):
            sweep.wrong.append(f"{label}: {wrong} {out!r}")

    whole = world()
    code, out, err = whole.run("start", "--count")
    wrong = check_trees(whole)
    if code != 0 or out != TREES or wrong:
        sweep.wrong.append(f"worktrees of a run that nobody kills: {code} {out!r} {err} {wrong}")
        return
    moments = []
    for what, count in (("tree", "trees"), ("append", "appends")):
        n = int(re.search(rf"{count} (\d+)", err).group(1))
        moments += [(what, n) for n in range(1 + sweep.random.randrange(stride), n + 1, stride)]
    for what, n in moments:
        for when in ("before", "after"):
            w, label = world(), f"worktrees, {what} {n} {when}"
            sweep.kills += w.run("start", f"--kill-{what}", f"{n}:{when}")[0] == -signal.SIGKILL
            if w.exists():
                again = sweep.random.randrange(1, 4)
                sweep.kills += w.run("resume", "--unknown", "retry", "--kill-tree", f"{again}:{when}")[0] == -signal.SIGKILL
                settle(w, label)


def duplicates(world):
    return [e for e, n in world.log().items() if n > 1]


def control_retry(sweep):
    """Blindly made again: an effect whose result was lost happens twice."""
    world = sweep.world()
    world.run("start", "--kill-effect", "4:after")
    world.run("resume", "--unknown", "retry")
    return duplicates(world)


def two_drivers(sweep, *options):
    """One process is overtaken by another while it is in an effect, and then goes on."""
    world = sweep.world()
    process = world.start("start", "--hold", "4", *options)
    deadline = time.monotonic() + 60
    while world.log()["e4"] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    code, out, err = world.run("resume", "--steal", *options)
    pathlib.Path(world.dir, "go").touch()
    process.communicate(timeout=120)
    return duplicates(world), (code, out, err), process.returncode


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--script", choices=TEXTS, default="sweep.lua")
    parser.add_argument("--every", type=int, default=1, help="each N-th append only")
    parser.add_argument("--random", type=int, default=0, help="kills at random moments besides")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moonlet-crash-") as root:
        sweep = Sweep(os.path.abspath(args.driver), args.script, root, args.seed)
        began = time.monotonic()
        world = sweep.world()
        clock = time.monotonic()
        code, out, err = world.run("start", "--count")
        whole = time.monotonic() - clock
        if code != 0 or out != sweep.text or [world.log()[e] for e in EFFECTS] != [1] * len(EFFECTS):
            sys.exit(f"a run that nobody kills: {code} {out!r} {err} {dict(world.log())}")
        appends = int(re.search(r"appends (\d+)", err).group(1))
        sweep.every(appends, args.every)
        for i in range(args.random):
            sweep.at_random(f"random {i}", whole * 1.1)
        for i in range(args.random // 2):
            first, second = sweep.random.randrange(1, appends), sweep.random.randrange(1, appends)
            sweep.twice(f"append {first} and then {second}", first, second)
        with_snapshots(sweep, args.every)
        with_trees(sweep, args.every)
        lost, (code, out, err), overtaken = two_drivers(sweep)
        if lost or code != 0 or out != sweep.text or overtaken == 0:
            sweep.wrong.append(f"two drivers: made twice {lost}, the second {code} {out!r} {err}, the first {overtaken}")
        caught = {"blind retry": control_retry(sweep), "no sequence check": two_drivers(sweep, "--no-sequence")[0]}
        for name, made_twice in caught.items():
            if not made_twice:
                sweep.wrong.append(f"control {name}: nothing was made twice, so this test sees nothing")
        print(f"seed {args.seed}: {sweep.kills} kills, {sweep.resumes} resumes, {sweep.unknown} unknown outcomes reported, "
              f"{appends} appends a run, {time.monotonic() - began:.0f} s")
        print("controls caught: " + ", ".join(f"{name} ({len(made)} made twice)" for name, made in caught.items()))
        for line in sweep.wrong[:40]:
            print("WRONG", line)
        sys.exit(1 if sweep.wrong else 0)


main()
