# SPDX-License-Identifier: MIT
"""A run whose journal is cut after each of its events in turn, as a crash would have left it, and resumed from there."""
import json
import os

import harness


class Cut(harness.Case):
    def setUp(self):
        super().setUp()
        self.exported = {}

    def newest(self, *args):
        return json.loads(self.moonlet("runs", "--json", "--limit", "1", *args).out)[0]["run"]

    def shown(self, run, *types, journal=()):
        lines = [json.loads(line) for line in self.moonlet("show", run, "--events", *journal).out.splitlines()]
        return [e for e in lines if not types or e["type"] in types]

    def cut(self, run, n):
        """The arguments that name a journal which holds the first n events of the run."""
        place = os.path.join(self.dir, f"cut{n}.db")
        lines = self.exported.setdefault(run, None) or self.moonlet("export", run).out.splitlines()
        self.exported[run] = lines
        head = json.loads(lines[0])
        head.update(state=0, resumable=True, stop="")
        path = os.path.join(self.dir, "cut.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join([json.dumps(head), *lines[1:n + 1]]) + "\n")
        done = self.moonlet("import", path, "--journal", place)
        self.assertEqual(done.code, 0, done)
        return "--journal", place

    def resumed_everywhere(self, script, *args, check=lambda n, journal: None):
        """Runs the script, then resumes it after each of its events, and forks it at some; the answer is the same."""
        whole = self.moonlet("run", script, "go", *args)
        self.assertEqual(whole.code, 0, whole)
        run = self.newest()
        events = len(self.shown(run))
        for n in range(1, events):
            journal = self.cut(run, n)
            done = self.moonlet("resume", run, *args, *journal)
            self.assertEqual((done.code, done.out), (0, whole.out), f"after event {n}: {done}")
            check(n, journal)
            if n % 5 == 0:
                done = self.moonlet("fork", run, "--at", str(n), *args)
                self.assertEqual((done.code, done.out), (0, whole.out), f"forked at event {n}: {done}")
        return whole, run
