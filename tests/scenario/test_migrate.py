# SPDX-License-Identifier: MIT
"""A journal of format 1 is brought to format 2 by whatever command opens it, and tells what it told before."""
import os
import sqlite3
import time

import harness
import journal_rows
from test_resume import Kept


class Migrate(Kept):
    def old(self):
        """Runs of each kind, in a journal of format 1: done, stopped by a limit, waiting, and a fork."""
        done, limit = self.shell_agent("seq 1 3000", "echo a >> log"), ("--limit", "steps=2")
        self.assertEqual(self.moonlet("run", done, "go", "--yes").code, 0)
        script = self.shell_agent("echo 1 >> log", "echo 2 >> log", "echo 3 >> log", name="limited")
        self.assertEqual(self.moonlet("run", script, "go", "--yes", *limit).code, 3)
        self.limited = self.last()["run"]
        self.assertEqual(self.moonlet("run", self.shell_agent("echo 9 >> log", name="asks"), "go").code, 4)
        self.asks = self.last()["run"]
        self.assertEqual(self.moonlet("fork", self.limited, "--at", "5", "--yes", *limit).code, 3)
        before = self.told()
        journal_rows.to_format_1(self.journal)
        return before

    def told(self):
        runs = self.runs()
        for run in runs:
            del run["updated"]  # counted from now
        texts = [self.moonlet(command, run["run"], *more).out for run in runs for command, more in (("show", ["--events"]), ("export", []))]
        return runs, texts

    def test_runs_and_their_records_are_as_before(self):
        before = self.old()
        done = self.moonlet("runs")
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertEqual(journal_rows.format_of(self.journal), 2)
        self.assertEqual(self.told(), before)
        self.assertIn("no damage", self.moonlet("runs", "--check").out)

    def test_runs_go_on_are_answered_and_are_forked(self):
        self.old()
        self.assertEqual(self.moonlet("resume", self.limited, "--yes", "--limit", "steps=9").code, 0)
        self.assertEqual(self.read("log"), "a\n1\n2\n2\n3\n3\n")  # the fork made 2 and 3, too
        self.assertEqual(self.moonlet("approve", self.asks).code, 0)
        self.assertEqual(self.moonlet("resume", self.asks).code, 0)
        self.assertTrue(self.read("log").endswith("3\n9\n"))
        self.assertEqual(self.moonlet("fork", self.limited, "--at", "5", "--yes", "--limit", "steps=9").code, 0)
        self.assertEqual(self.moonlet("runs", "--check").code, 0)

    def test_each_command_that_reads_does_it(self):
        self.old()
        for command in (["show", self.asks], ["export", self.asks], ["doctor"], ["gc", "--dry-run"]):
            self.moonlet(*command)
            self.assertEqual(journal_rows.format_of(self.journal), 2, command)
            journal_rows.to_format_1(self.journal)

    def test_a_damaged_run_does_not_lock_the_others_in(self):
        self.old()
        db = sqlite3.connect(self.journal)
        with db:
            db.execute("UPDATE records SET body = replace(body, 'go', 'no') WHERE seq = 1 AND run = (SELECT id FROM runs WHERE run = ?)", (self.asks,))
        db.close()
        done = self.moonlet("show", self.asks)
        self.assertNotEqual(done.code, 0, done)
        self.assertIn("was damaged before it was brought to format 2: 1 of its runs", done.err)
        self.assertIn("record 1 does not fit its hash", done.err)
        self.assertEqual(self.moonlet("show", self.limited).code, 0)
        self.assertIn(self.asks, self.moonlet("runs", "--check").err)
        self.assertEqual(self.moonlet("gc", "--keep", "0s", "--waiting").code, 0)
        self.assertIn("no damage", self.moonlet("runs", "--check").out)

    def test_a_run_that_is_being_driven_is_waited_for(self):
        os.mkfifo(os.path.join(self.work, "gate"))
        script = self.shell_agent("touch begun; cat gate", "echo after >> log")
        process = self.start("run", script, "go", "--yes")
        deadline = time.monotonic() + harness.PATIENCE
        while not os.path.exists(os.path.join(self.work, "begun")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        run = self.last()["run"]
        journal_rows.to_format_1(self.journal)
        for command in (["runs"], ["show", run], ["resume", run], ["doctor"]):
            done = self.moonlet(*command)
            self.assertNotEqual(done.code, 0, done)
            self.assertIn(f"wait until the process that drives run {run} ends", done.err + done.out)
        self.assertEqual(journal_rows.format_of(self.journal), 1)
        with open(os.path.join(self.work, "gate"), "w") as gate:
            gate.write("through\n")
        self.finish(process)  # it finds the journal changed, and goes no further
        self.assertEqual(self.read("log"), "")
        self.assertEqual(self.moonlet("resume", run, "--yes", "--unknown", "tell").code, 0)
        self.assertEqual(self.read("log"), "after\n")

    def test_a_newer_format_is_refused(self):
        self.old()
        db = sqlite3.connect(self.journal)
        db.execute("PRAGMA user_version = 3")
        db.close()
        done = self.moonlet("runs")
        self.assertEqual(done.code, 2, done)
        self.assertIn("has format 3, and this moonlet knows up to 2: use a newer one", done.err)


del Kept  # its tests are its own module's

if __name__ == "__main__":
    harness.main()
