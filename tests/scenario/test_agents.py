# SPDX-License-Identifier: MIT
"""The shipped agents as a whole: each is listed wherever they are, loads, and says what it needs. What each does is tested in agents/tests."""
import json
import re

import fixtures
import harness

SHIPPED = sorted(path.stem for path in (harness.SOURCE / "agents").glob("*.lua") if path.stem != "offline")


class Agents(harness.Case):
    def test_they_are_listed(self):
        page = (harness.SOURCE / "docs/agents.md").read_text()
        self.assertEqual(sorted(re.findall(r"^\| `([\w-]+)", page, re.M)), SHIPPED)
        for name in ("moonlet.bash", "_moonlet", "moonlet.fish"):
            self.assertIn(" ".join(SHIPPED), (harness.SOURCE / "scripts/completions" / name).read_text())
        manual = (harness.SOURCE / "docs/man/moonlet.1").read_text().replace("\\-", "-")
        for name in SHIPPED:
            self.assertRegex(manual, rf"\b{name}\b")

    def test_each_is_drawn_from_its_definition(self):
        for name in SHIPPED:
            done = self.moonlet("graph", name)
            self.assertEqual(done.code, 0, done)
            self.assertIn("flowchart", done.out)

    def test_without_input_they_say_what_is_missing(self):
        for name in ("ask", "explain", "refactor", "fix-tests"):
            done = self.moonlet("run", name)
            self.assertEqual(done.code, 1, done)
            self.assertRegex(done.err, r"\b(say|ask) (what|which|something)\b")

    def test_what_they_do_without_a_model(self):
        repo = fixtures.harbour(self.dir + "/repo", self.env)
        for name, part in (("todos", "| soon | `docs/søren – notes.txt:1` |"), ("test-gaps", "## `src/"), ("docs-drift", "Documents: "), ("dependencies", "Licence: ")):
            done = self.moonlet("run", name, "--output", "json", cwd=repo.path)
            self.assertEqual(done.code, 0, done)
            self.assertIn(part, json.loads(done.out)["text"])
            self.assertIn("No model is configured", json.loads(done.out)["text"])


if __name__ == "__main__":
    harness.main()
