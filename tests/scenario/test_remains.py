# SPDX-License-Identifier: MIT
"""What tools leave beside their results, after a resume: texts that were put aside, and what was seen of files."""
import json
import os
import pathlib
import sqlite3
import unittest

import harness

# A model that makes the calls of a list, one message each, and ends with the last result.
MODEL = """
local steps = moon.json.decode [==[%s]==]
local model = moon.model.script(function(r)
  local n, last = 0, ""
  for _, m in ipairs(r.messages) do if m.role == "tool" then n, last = n + 1, m.content end end
  if steps[n + 1] then return { tool_calls = { steps[n + 1] } } end
  return last
end)
"""
LONG = {"command": "seq 1 20000"}


class Remains(harness.Case):
    def steps(self, *calls):
        made = json.dumps([{"name": name, "arguments": args} for name, args in calls])
        return self.agent("model = model", tools='"file", "shell"', body=MODEL % made)

    def last(self):
        return json.loads(self.moonlet("runs", "--json").out)[0]["run"]

    def results(self, run):
        events = [json.loads(line) for line in self.moonlet("show", run, "--events").out.splitlines()]
        return [e["body"] for e in events if e["type"] == "tool.result"]

    def go(self, *args, code=0):
        done = self.moonlet(*args, "--yes")
        self.assertEqual(done.code, code, done)
        return done.out

    def test_a_long_result_is_there_under_its_name(self):
        script = self.steps(("shell", LONG), ("shell", {"command": "seq 5 20005"}),
                            ("file.read", {"path": "@spill/1.txt", "offset": 12345, "limit": 1}), ("shell", LONG),
                            ("file.read", {"path": "@spill/2.txt", "offset": 12345, "limit": 1}))
        self.go("run", script, "go", "--limit", "steps=2", code=3)
        run = self.last()
        self.assertEqual(os.listdir(self.env["TMPDIR"]), [])  # its process is gone, and its files are
        self.go("resume", run, "--limit", "steps=4", code=3)
        self.assertEqual(os.listdir(self.env["TMPDIR"]), [])
        self.assertIn("12349\n", self.go("resume", run, "--limit", "steps=9"))
        results = self.results(run)
        self.assertIn("12345\n", results[2]["text"])
        self.assertEqual([r.get("spill") for r in results], ["@spill/1.txt", "@spill/2.txt", None, "@spill/3.txt", None])
        self.assertEqual(self.moonlet("runs", "--check").code, 0)

    def test_a_fork_has_what_was_put_aside_before(self):
        script = self.steps(("shell", LONG), ("shell", {"command": "echo"}), ("file.read", {"path": "@spill/1.txt", "offset": 777, "limit": 1}))
        self.go("run", script, "go", "--limit", "steps=2", code=3)
        self.assertIn("777\n", self.go("fork", self.last(), "--limit", "steps=9"))

    def test_equal_texts_are_kept_once(self):
        script = self.steps(("shell", LONG), ("shell", {"command": "true; seq 1 20000"}))
        self.go("run", script, "go")
        journal = os.path.join(self.home, "state", "moonlet", "journal.db")
        with sqlite3.connect(journal) as db:
            large = db.execute("SELECT count(*) FROM blobs WHERE length(bytes) > 100000").fetchone()[0]
        self.assertEqual(large, 1)
        self.assertEqual(self.moonlet("gc", "--keep", "0s").code, 0)
        with sqlite3.connect(journal) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM blobs").fetchone()[0], 0)

    def test_without_its_text_a_run_goes_on(self):
        script = self.steps(("shell", LONG), ("file.read", {"path": "@spill/1.txt"}))
        self.go("run", script, "go", "--limit", "steps=1", code=3)
        exported = self.moonlet("export", self.last()).raw_out
        self.assertEqual(self.moonlet("import", "-", "--journal", "other.db", input=exported).code, 0)
        self.assertIn("no result was kept", self.go("resume", "--limit", "steps=9", "--journal", "other.db"))

    def test_damaged_texts_are_found(self):
        self.go("run", self.steps(("shell", LONG), ("shell", LONG)), "go", "--limit", "steps=1", code=3)
        with sqlite3.connect(os.path.join(self.home, "state", "moonlet", "journal.db")) as db:
            db.execute("UPDATE blobs SET bytes = replace(bytes, '777', '888') WHERE length(bytes) > 100000")
        self.assertIn("damaged", self.moonlet("resume", "--yes", "--limit", "steps=9").err)

    def test_a_file_that_changed_since_it_was_read(self):
        for change in (False, True):
            with self.subTest(change):
                self.file("a.txt", "one\n")
                script = self.steps(("file.read", {"path": "a.txt"}), ("file.edit", {"path": "./a.txt", "old": "one", "new": "two"}))
                self.go("run", script, "go", "--limit", "steps=1", code=3)
                if change:
                    self.file("a.txt", "one\nand more\n")
                out = self.go("resume", "--limit", "steps=9")
                self.assertIn("has changed since it was read" if change else "edited", out)
                self.assertEqual(pathlib.Path(self.work, "a.txt").read_text(), "one\nand more\n" if change else "two\n")

    def test_what_was_written_last_counts(self):
        script = self.steps(("file.read", {"path": "a.txt"}), ("file.write", {"path": "a.txt", "content": "two\n"}),
                            ("file.edit", {"path": "a.txt", "old": "two", "new": "three"}))
        self.file("a.txt", "one\n")
        self.go("run", script, "go", "--limit", "steps=2", code=3)
        self.assertIn("edited", self.go("resume", "--limit", "steps=9"))


if __name__ == "__main__":
    harness.main()
