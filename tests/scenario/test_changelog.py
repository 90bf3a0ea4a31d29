# SPDX-License-Identifier: MIT
"""moonlet run changelog, offline: an agent that edits a file, once."""
import os

import fixtures
import harness


class Changelog(harness.Case):
    def setUp(self):
        super().setUp()
        self.repo = fixtures.Repo(os.path.join(self.dir, "repo"), self.env)
        self.ids = {}
        for subject in ("parser: add a reader for 日本 files", "fix: a crash on `empty` input", "drop the old form", "core: be quicker"):
            self.repo.write("file.txt", subject + "\n")
            self.ids[subject] = self.repo.commit(subject)[:10]

    def run_it(self, *arguments):
        return self.moonlet("run", "changelog", *arguments, cwd=self.repo.path)

    def content(self):
        return self.repo.read("CHANGELOG.md").decode()

    def test_writes_a_new_file(self):
        done = self.run_it("--yes")
        self.assertEqual(done.code, 0, done)
        made = self.content()
        self.assertTrue(made.startswith("# Changelog\n"))
        for heading, subject in (("Added", "parser: add a reader for 日本 files"), ("Fixed", "fix: a crash on \\`empty\\` input"),
                                 ("Removed", "drop the old form"), ("Changed", "core: be quicker")):
            commit = self.ids[subject.replace("\\", "")]
            part = made.split(f"### {heading}\n\n")[1].split("\n\n")[0]
            self.assertIn(f"- {subject} (`{commit}`)", part)
            self.assertIn(commit, done.out)

    def test_second_run_changes_nothing(self):
        self.run_it("--yes")
        before = self.content()
        done = self.run_it("--yes")
        self.assertEqual(done.code, 0, done)
        self.assertIn("up to date", done.out)
        self.assertEqual(self.content(), before)
        self.repo.commit("changelog: bring it up to date")
        self.run_it("--yes")
        self.assertEqual(self.content(), before)

    def test_new_commits_go_into_the_section_that_is_there(self):
        self.run_it("--yes")
        before = self.content()
        self.repo.write("file.txt", "five\n")
        fifth = self.repo.commit("fix: five")[:10]
        # The file was committed along, by `git add -A`: such a commit counts as recorded.
        self.assertIn("up to date", self.run_it("--yes").out)
        self.repo.write("file.txt", "six\n")
        sixth = self.repo.commit("fix: six")[:10]
        self.assertEqual(self.run_it("--yes").code, 0)
        after = self.content()
        self.assertNotIn(fifth, after)
        fixed = after.split("### Fixed\n\n")[1].split("\n\n")[0].split("\n")
        self.assertEqual(fixed[0], f"- fix: six (`{sixth}`)")
        self.assertEqual([line for line in before.split("\n") if line not in after.split("\n")], [])
        self.assertEqual(len(after.split("\n")), len(before.split("\n")) + 1)

    def test_since_the_tag_of_the_last_release(self):
        self.repo.write("CHANGELOG.md", "# Changelog\n\nBy hand.\n\n## [1.0.0] - 2023-11-20\n\n- All of it.\n\n[1.0.0]: https://example.org\n")
        self.repo.commit("release 1.0.0")
        self.repo.git("tag", "v1.0.0")
        self.repo.write("file.txt", "new\n")
        new = self.repo.commit("add more")[:10]
        done = self.run_it("--yes")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(self.content(), "# Changelog\n\nBy hand.\n\n## [Unreleased]\n\n### Added\n\n"
                         f"- add more (`{new}`)\n\n## [1.0.0] - 2023-11-20\n\n- All of it.\n\n[1.0.0]: https://example.org\n")
        self.assertIn("up to date", self.run_it("--yes").out)

    def test_without_leave_nothing_is_written(self):
        done = self.run_it()
        self.assertEqual(done.code, 4, done)
        self.assertFalse(os.path.exists(os.path.join(self.repo.path, "CHANGELOG.md")))

    def test_refusal_is_said_with_the_section(self):
        done = self.run_it("--policy", "file.write=deny")
        self.assertEqual(done.code, 0, done)
        self.assertIn("could not be written", done.out)
        self.assertIn(self.ids["core: be quicker"], done.out)

    def test_changes_no_other_file(self):
        self.run_it("--yes")
        self.assertEqual(self.repo.lines("status", "--porcelain"), ["?? CHANGELOG.md"])

    def test_no_repository(self):
        done = self.moonlet("run", "changelog", "--yes")
        self.assertEqual((done.code, os.listdir(self.work)), (0, []), done)
        self.assertIn("no git repository", done.out)


class AnyOtherAgent(harness.Case):
    def test_offline_model_says_what_it_is(self):
        self.file("a.txt", "alpha\n")
        done = self.moonlet("run", self.agent(tools='"file", "git"'), "solve everything")
        self.assertEqual(done.code, 0, done)
        self.assertIn("No model is configured", done.out)
        self.assertIn("a.txt", done.out.replace("\\", "") + "a.txt")

    def test_offline_model_does_not_make_up_structure(self):
        done = self.moonlet("run", self.agent('output = { answer = "string" },'), "solve", "--output", "json")
        self.assertEqual((done.code, done.json()["stop_reason"]), (6, "provider_unavailable"), done)
        self.assertIn("No model is configured", done.json()["error"])

    def test_agent_with_a_plan(self):
        done = self.moonlet("run", self.agent("plan = true,"), "go", "--output", "stream-json")
        self.assertEqual(done.code, 0, done)
        self.assertTrue(done.events("plan.updated"))


if __name__ == "__main__":
    harness.main()
