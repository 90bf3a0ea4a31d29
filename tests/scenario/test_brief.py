# SPDX-License-Identifier: MIT
"""moonlet run brief: every number and id of the brief against what the git command line says."""
import json
import os
import re
import subprocess

import fixtures
import harness
from mock_model import MockModel, calls, text

ID = re.compile(r"[0-9a-f]{10}")
AT_LINE = re.compile(r'(?s)("(?:[^"\\]|\\.)*"|.+):([0-9]+)')
SECTIONS = ["What it is", "How it is laid out", "What moved lately", "Hot files", "Who knows what", "Open TODO and FIXME", "Failing seams",
            "State of the work tree"]


def spans(line):
    """The code spans of a line of Markdown."""
    found, at = [], 0
    while (opening := re.compile("`+").search(line, at)):
        fence = opening.group()
        close = re.compile(f"(?<!`){fence}(?!`)").search(line, opening.end())
        if not close:
            break
        inner = line[opening.end():close.start()]
        found.append(inner[1:-1] if len(fence) > 1 else inner)
        at = close.end()
    return found


def unquoted(name):
    """The bytes of a name as the brief shows it: itself, or in C-style quotes."""
    if not (len(name) > 1 and name[0] == name[-1] == '"'):
        return name.encode()
    known = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
    out, rest = bytearray(), name[1:-1]
    while rest:
        octal = re.match(r"\\([0-7]{3})", rest)
        if octal:
            out.append(int(octal.group(1), 8))
        elif rest[0] == "\\":
            out.append(known[rest[1]])
        else:
            out += rest[0].encode()
        rest = rest[4 if octal else 2 if rest[0] == "\\" else 1:]
    return bytes(out)


class Brief:
    def __init__(self, markdown):
        self.text = markdown
        self.sections, name = {}, ""
        for line in markdown.split("\n"):
            if line.startswith("## "):
                name = line[3:]
                assert name not in self.sections, f"section {name} twice"
            self.sections.setdefault(name, []).append(line)

    def bullets(self, section):
        return [line[2:] for line in self.sections[section] if line.startswith("- ")]

    def about(self, section, span):
        """The first bullet of a section that has this code span."""
        for line in self.bullets(section):
            if span in spans(line):
                return line
        raise AssertionError(f"nothing about {span} in {section}:\n" + "\n".join(self.sections[section]))

    def all_bullets(self):
        return [line for section in self.sections for line in self.bullets(section)]


class BriefCase(harness.Case):
    def brief(self, repo, *words, env=None, code=0):
        path = repo if isinstance(repo, str) else repo.path
        done = self.moonlet("run", "brief", *words, "--cwd", path, "--output", "json", env=env)
        self.assertEqual(done.code, code, done)
        self.stderr = done.err
        return Brief(done.json()["text"])

    def repo_of(self, make, **options):
        return make(os.path.join(self.dir, make.__name__), self.env, **options)

    def assert_cites(self, repo, brief):
        """Every id is a commit, every file:line is a line of a file, and no statement is without one of them."""
        for line in brief.all_bullets():
            found = spans(line)
            ids = [s for s in found if ID.fullmatch(s)]
            places = [AT_LINE.fullmatch(s) for s in found if AT_LINE.fullmatch(s)]
            for commit in ids:
                self.assertTrue(repo.has(commit), f"{commit} is no commit: {line}")
            for place in places:
                name = unquoted(place.group(1))
                with open(os.path.join(os.fsencode(repo.path), name), "rb") as source:
                    self.assertGreaterEqual(len(source.read().splitlines()), int(place.group(2)), line)
            self.assertTrue(ids or places, f"a statement without evidence: {line}")

    def assert_safe(self, brief):
        for char in brief.text:
            code = ord(char)
            self.assertFalse((code < 32 and char != "\n") or 0x7F <= code < 0xA0 or 0x202A <= code <= 0x202E, f"raw {code:#x} in the brief")


class OnHarbour(BriefCase):
    """The fixture with merges, renames, a revert and names that are not ASCII."""

    def setUp(self):
        super().setUp()
        self.repo = self.repo_of(fixtures.harbour)
        self.made = self.brief(self.repo)

    def count(self, *arguments):
        return len(self.repo.lines("log", "--format=%H", "--no-merges", *arguments))

    def commits(self, *arguments):
        return [line[:10] for line in self.repo.lines("log", "--format=%H", "--no-merges", *arguments)]

    def test_has_its_sections_and_cites(self):
        self.assertEqual(list(self.made.sections)[1:], SECTIONS)
        self.assert_cites(self.repo, self.made)
        self.assertTrue(self.made.text.startswith("# Brief of Harbour\n"))

    def test_says_once_that_no_model_is_configured(self):
        self.assertEqual(len(re.findall("(?i)no model is configured", self.stderr)), 1, self.stderr)
        self.assertIn("MOONLET_MODEL", self.stderr)

    def test_same_repository_same_text(self):
        self.assertEqual(self.brief(self.repo).text, self.made.text)

    def test_readme(self):
        bullets = self.made.bullets("What it is")
        self.assertIn("“Harbour”", bullets[0])
        self.assertIn("README.md:3", spans(bullets[0]))
        self.assertIn("“Harbour keeps track of ships and their berths. It runs on a small computer.”", bullets[1])
        self.assertIn("README.md:5", spans(bullets[1]))
        self.assertIn("Makefile:1", spans("\n".join(bullets)))

    def sizes(self):
        listed = {}
        for row in self.repo.git("ls-tree", "-r", "-l", "-z", "HEAD").split("\0"):
            if row:
                head, name = row.split("\t", 1)
                listed[name] = int(head.split()[3])
        return listed

    def test_files_bytes_and_languages(self):
        sizes = self.sizes()
        line = next(line for line in self.made.bullets("What it is") if "By size" in line)
        self.assertTrue(line.startswith(f"{len(sizes)} files, {sum(sizes.values())} bytes"), line)
        for language, endings in (("C", (".c",)), ("Python", (".py",)), ("Markdown", (".md",)), ("HTML", (".html",)), ("text", (".txt",))):
            mine = [size for name, size in sizes.items() if name.endswith(endings)]
            self.assertRegex(line, rf"\b{language} {len(mine)} files?, {sum(mine)} bytes")

    def test_directories(self):
        by_top = {}
        for name, size in self.sizes().items():
            top = name.split("/")[0] + "/" if "/" in name else None
            files, total = by_top.get(top, (0, 0))
            by_top[top] = (files + 1, total + size)
        section = self.made.bullets("How it is laid out")
        self.assertEqual(len(section), len(by_top))
        for top, (files, total) in by_top.items():
            line = self.made.about("How it is laid out", top) if top else next(b for b in section if b.startswith("files at the root"))
            self.assertRegex(line, rf": {files} files?, {total} bytes;")
            newest = self.commits("-1", "--full-history", "--", top or ":(glob)*")[0]
            self.assertIn(newest, spans(line))

    def test_window(self):
        every = self.repo.lines("rev-list", "HEAD")
        line = next(line for line in self.made.sections["What moved lately"] if line.startswith("Window"))
        self.assertIn(f" {len(every)} commits in all", line)
        self.assertEqual(spans(line), [every[-1][:10], every[0][:10]])
        self.assertIn(f"{len(set(self.repo.lines('log', '--format=%ae')))} authors", line)
        for commit in (every[0], every[-1]):
            self.assertIn(self.repo.git("log", "-1", "--date=format-local:%Y-%m-%d", "--format=%ad", commit), line)
        merges = self.repo.lines("rev-list", "--merges", "HEAD")
        self.assertIn(f"{len(merges)} merge commit", self.made.about("What moved lately", merges[0][:10]))

    def test_areas(self):
        for area in ("src/", "tools/", "docs/", "tests/", "web/"):
            line = self.made.about("What moved lately", area)
            mine = self.commits("--full-history", "--", area)
            self.assertRegex(line, rf": {len(mine)} commits? by ")
            self.assertEqual(spans(line.split("Newest: ")[1]), mine[:3])
            for row in self.repo.lines("shortlog", "-sn", "--no-merges", "HEAD", "--", area):
                number, author = row.split("\t")
                self.assertIn(f"{author} {number.strip()} (", line)
                newest = self.commits("-1", f"--author={author}", "--full-history", "--", area)[0]
                self.assertIn(f"{author} {number.strip()} (`{newest}`)", line)

    def test_hot_files(self):
        sizes, scores = self.sizes(), []
        bullets = self.made.bullets("Hot files")
        self.assertEqual(len(bullets), len(sizes))
        for line in bullets:
            name = AT_LINE.fullmatch(spans(line)[0]).group(1)
            number, size, score = map(int, re.search(r": (\d+) commits? × (\d+) bytes = (\d+)", line).groups())
            mine = self.commits("--follow", "--", name)
            self.assertEqual((number, size), (len(mine), sizes[name]), line)
            self.assertEqual(score, number * size)
            self.assertEqual(spans(line.split("Newest: ")[1]), mine[:3])
            shown = re.search(r", (\d+) lines", line)
            if shown:
                self.assertEqual(int(shown.group(1)), len(self.repo.read(name).splitlines()))
            scores.append(score)
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(spans(bullets[0])[0], "src/core.c:1")
        renamed = self.made.about("Hot files", "src/mover.c:1")
        self.assertGreater(int(re.search(r"(\d+) commits", renamed).group(1)), self.count("--", "src/mover.c"))

    def blame(self, name):
        """Line number → (id, author, time)."""
        rows, known, current = {}, {}, None
        for row in self.repo.lines("blame", "--line-porcelain", "HEAD", "--", name):
            head = re.match(r"([0-9a-f]{40}) \d+ (\d+)", row)
            if head:
                current = int(head.group(2))
                rows[current] = [head.group(1)[:10]]
            elif row.startswith("author ") or row.startswith("author-time "):
                rows[current].append(row.split(" ", 1)[1])
        return {line: (commit, author, int(when)) for line, (commit, author, when) in rows.items()}

    def test_blame(self):
        bullets = [line for line in self.made.bullets("Who knows what") if not line.startswith("By commits")]
        self.assertGreaterEqual(len(bullets), 5)
        for line in bullets:
            name, rows = spans(line)[0], self.blame(spans(line)[0])
            self.assertIn(f"({len(rows)} lines)", line)
            owners = re.findall(r"[:,] ([^,:`]+?) (\d+) lines? \((\d+) %\), newest `([0-9a-f]{10})` at `[^`]*:(\d+)`", line)
            self.assertEqual(sum(int(owner[1]) for owner in owners), len(rows), line)
            for author, number, percent, commit, at in owners:
                mine = {n: row for n, row in rows.items() if row[1] == author}
                self.assertEqual(int(number), len(mine), line)
                self.assertEqual(int(percent), int(len(mine) * 100 / len(rows) + 0.5))
                self.assertEqual(rows[int(at)][:2], (commit, author))
                self.assertEqual(rows[int(at)][2], max(row[2] for row in mine.values()))

    def test_marks_and_their_age(self):
        expected = set()
        newest = max(int(when) for when in self.repo.lines("log", "--format=%at"))
        for row in self.repo.lines("grep", "-nwE", "TODO|FIXME", "--", "."):
            name, number, _ = row.split(":", 2)
            commit, author, when = self.blame(name)[int(number)]
            day = self.repo.git("log", "-1", "--date=format-local:%Y-%m-%d", "--format=%ad", commit)
            expected.add((f"{name}:{number}", commit, day, author, (newest - when) // fixtures.DAY))
        found = set()
        for line in self.made.bullets("Open TODO and FIXME"):
            day, author, age = re.search(r"(\d{4}-\d\d-\d\d) by (.*), (\d+) days? old\)$", line).groups()
            found.add((spans(line)[0], [s for s in spans(line) if ID.fullmatch(s)][-1], day, author, int(age)))
        self.assertEqual(found, expected)
        head = next(line for line in self.made.sections["Open TODO and FIXME"] if "with TODO or FIXME" in line)
        self.assertTrue(head.startswith(f"{len(expected)} lines"), head)
        ages = [int(re.search(r"(\d+) days? old", line).group(1)) for line in self.made.bullets("Open TODO and FIXME")]
        self.assertEqual(ages, sorted(ages, reverse=True))

    def test_seams(self):
        section = self.made.bullets("Failing seams")
        both = [c for c in self.commits("--", "src/mover.c") if c in self.commits("--", "tools/gen.py")]
        together = next(line for line in section if "change together" in line)
        self.assertEqual(spans(together)[:2], ["src/mover.c", "tools/gen.py"])
        self.assertIn(f"in {len(both)} commits", together)
        self.assertEqual(spans(together)[2:], both[:4])
        revert = self.commits("--grep=^Revert ")[0]
        undone = re.search("This reverts commit ([0-9a-f]{10})", self.repo.git("log", "-1", "--format=%B", revert)).group(1)
        self.assertEqual(spans(next(line for line in section if "taken back" in line)), [revert, undone])
        fixes = self.commits("-i", "--grep=^fix", "--", "tools/gen.py")
        mended = next(line for line in section if "Mended" in line and "tools/gen.py" in spans(line))
        self.assertTrue(mended.startswith(f"Mended again and again: {len(fixes)} of the {self.count('--', 'tools/gen.py')} commits"), mended)
        self.assertEqual(spans(mended)[1:], fixes[:4])
        alone = [spans(line)[0] for line in section if line.startswith("One person alone")]
        self.assertEqual(alone, ["tools/"])
        self.assertTrue(any(line.startswith("No test moves with it") and spans(line)[0] == "tools/" for line in section))

    def test_state(self):
        self.assertEqual(spans(self.made.bullets("State of the work tree")[0]), ["main", self.repo.git("rev-parse", "HEAD")[:10]])

    def test_focus_comes_first(self):
        made = self.brief(self.repo, "who knows the berth code?")
        self.assertEqual(list(made.sections)[1], "What you asked about")
        self.assert_cites(self.repo, made)
        self.assertEqual(spans(made.bullets("Hot files")[0])[0], "src/berth.c:1")
        asked = "\n".join(made.bullets("What you asked about"))
        for commit in self.commits("-i", "--grep=berth"):
            self.assertIn(commit, asked)
        grep = self.repo.lines("grep", "-niF", "berth", "--", ".")
        self.assertIn(":".join(grep[0].split(":")[:2]), spans(asked))

    def test_focus_that_is_nowhere_is_said(self):
        made = self.brief(self.repo, "zeppelins")
        self.assertIn("found in no file", made.bullets("What you asked about")[0])

    def test_uncommitted_changes(self):
        self.repo.add_line("src/core.c", "int dirty; /* FIXME new */")
        self.repo.write("fresh file.c", "TODO fresh\n")
        made = self.brief(self.repo)
        state = "\n".join(made.bullets("State of the work tree"))
        self.assertIn("2 paths with uncommitted changes", state)
        self.assertLessEqual({"src/core.c", "fresh file.c"}, set(spans(state)))
        self.assertIn("not dated", made.about("Open TODO and FIXME", "fresh file.c:1"))
        self.assertIn("not dated", made.about("Open TODO and FIXME", "src/core.c:1"))

    def test_figures_of_a_changed_tree_say_what_they_are_of(self):
        """Sizes are of the work tree, blame is of HEAD: neither is given as the other's."""
        head = self.repo.git("rev-parse", "HEAD")[:10]
        lines = len(self.repo.read("src/core.c").splitlines())
        self.repo.write("src/core.c", "int cut_short;\n")
        os.unlink(os.path.join(self.repo.path, "README.md"))
        made = self.brief(self.repo)
        self.assert_cites(self.repo, made)
        self.assertIn("There are uncommitted changes", made.sections[""][2])
        by_size = next(line for line in made.bullets("What it is") if "By size" in line)
        self.assertIn(f"(in the work tree on `{head}`)", by_size)
        self.assertIn(" × 15 bytes = ", made.about("Hot files", "src/core.c:1"))
        self.assertNotRegex(made.about("Hot files", "src/core.c:1"), r", \d+ lines?\b")
        self.assertIn(f"({lines} lines, in HEAD: the file has changed since)", made.about("Who knows what", "src/core.c"))
        self.assertRegex(made.about("Who knows what", "src/mover.c"), r"\(\d+ lines\): .* at `src/mover\.c:\d+`")

    def test_detached_head(self):
        self.repo.git("checkout", "-q", "HEAD~3")
        made = self.brief(self.repo)
        head = self.repo.git("rev-parse", "HEAD")[:10]
        self.assertIn("detached", made.bullets("State of the work tree")[0])
        self.assertIn(head, spans(made.bullets("State of the work tree")[0]))
        self.assert_cites(self.repo, made)

    def test_bare(self):
        bare = os.path.join(self.dir, "bare.git")
        self.repo.git("clone", "-q", "--bare", ".", bare)
        made = self.brief(bare)
        self.assertIn("bare", "\n".join(made.bullets("What it is")))
        self.assertNotIn("hooks", made.text)
        for line in made.all_bullets():
            ids = [s for s in spans(line) if ID.fullmatch(s)]
            self.assertTrue(ids and all(map(self.repo.has, ids)), line)
        mine = self.commits("--full-history", "--", "src/")
        self.assertIn(f": {len(mine)} commits by ", made.about("What moved lately", "src/"))

    def test_subdirectory_of_the_repository(self):
        made = self.brief(os.path.join(self.repo.path, "src"))
        self.assertEqual(list(made.sections)[1:], SECTIONS)
        self.assertIn(f": {len(self.commits('--', 'src/core.c'))} commits × ", made.about("Hot files", "core.c:1"))
        self.assertNotIn("guide.md:", made.text)
        self.assertIn("This is `src/` of a larger repository", made.text)
        mine = self.commits("--", "src")
        self.assertNotIn("../", made.text)
        self.assertIn(f": {len(mine)} commits by ", "\n".join(made.bullets("What moved lately")))
        self.assertEqual(spans(next(line for line in made.sections["What moved lately"] if line.startswith("Window"))), [mine[-1], mine[0]])

    def test_subdirectory_without_a_commit(self):
        os.mkdir(os.path.join(self.repo.path, "fresh"))
        made = self.brief(os.path.join(self.repo.path, "fresh"))
        self.assertIn("No commit has changed this directory", made.text)
        self.assertIn("no files here", made.bullets("How it is laid out")[0])

    def test_plan_and_calls_side_by_side(self):
        done = self.moonlet("run", "brief", "--cwd", self.repo.path, "--output", "stream-json")
        plans = done.events("plan.updated")
        self.assertGreaterEqual(len(plans), 3)
        self.assertEqual({item["state"] for item in plans[-1]["body"]["items"]}, {"done"})
        kinds = [e["type"] for e in done.events()]
        self.assertIn(["tool.intent", "tool.intent"], [kinds[at:at + 2] for at in range(len(kinds))])
        first = done.events("tool.intent")[0]
        self.assertEqual(first["body"]["tool"], "plan")
        self.assertFalse([e for e in done.events("tool.result") if not e["body"]["ok"]], done)


class OtherTrees(BriefCase):
    def test_no_commits(self):
        repo = fixtures.Repo(os.path.join(self.dir, "empty"), self.env)
        repo.write("README", "Nothing yet\n===========\n\nJust begun.\n")
        made = self.brief(repo)
        self.assertIn("no commits yet", made.text)
        self.assertIn("main", spans(made.bullets("State of the work tree")[0]))
        self.assertIn("README:1", spans(made.text))

    def test_no_commits_and_no_files(self):
        made = self.brief(fixtures.Repo(os.path.join(self.dir, "empty"), self.env))
        self.assertEqual(list(made.sections)[1:], SECTIONS)

    def test_no_repository(self):
        self.file("notes/todo.md", "# Notes\n\nTODO: begin\n")
        self.file("README.md", "# Folder\n\nThings.\n")
        made = self.brief(self.work)
        self.assertIn("no git repository", made.text)
        self.assertIn("notes/todo.md:3", spans(made.text))
        self.assertIn("README.md:1", spans(made.text))

    def test_empty_directory(self):
        made = self.brief(self.work)
        self.assertIn("no git repository", made.text)
        for section in SECTIONS:
            self.assertTrue(made.bullets(section), f"nothing is said in {section}:\n{made.text}")

    def test_one_commit(self):
        repo = fixtures.Repo(os.path.join(self.dir, "one"), self.env)
        repo.write("a.c", "int a;\n")
        repo.commit("begin")
        made = self.brief(repo)
        self.assert_cites(repo, made)
        self.assertIn("1 commit in all", made.text)

    def test_strange_names(self):
        repo = self.repo_of(fixtures.strange)
        made = self.brief(repo)
        self.assert_safe(made)
        self.assertNotIn("<b>", made.text.replace("\\<b>", ""))
        shown = {unquoted(AT_LINE.fullmatch(span).group(1)) for span in spans("\n".join(made.bullets("Hot files"))) if AT_LINE.fullmatch(span)}
        self.assertEqual(shown, set(fixtures.STRANGE))
        for line in made.bullets("Hot files"):
            self.assertIn(": 4 commits × ", line)
        marks = {unquoted(AT_LINE.fullmatch(spans(line)[0]).group(1)) for line in made.bullets("Open TODO and FIXME")}
        self.assertEqual(marks, set(fixtures.STRANGE))

    def test_strange_names_on_a_stream(self):
        repo = self.repo_of(fixtures.strange)
        for form in ("text", "stream-json"):
            done = self.moonlet("run", "brief", "--cwd", repo.path, "--output", form)
            self.assertEqual(done.code, 0, done)
            self.assertNotIn(b"\x1b", done.raw_out)
            self.assertNotIn(b"\x1b", done.raw_err)

    def test_renames_across_areas_and_deleted_files(self):
        repo = fixtures.Repo(os.path.join(self.dir, "moves"), self.env)
        for number in range(4):
            repo.write("old/part.py", fixtures.lines(30, "x") + fixtures.lines(number, "more"))
            repo.write("gone/away.py", fixtures.lines(number + 1, "gone"))
            repo.commit(f"grow {number}")
        os.makedirs(os.path.join(repo.path, "new"))
        repo.git("mv", "old/part.py", "new/piece.py")
        repo.git("rm", "-rq", "gone")
        repo.commit("move it")
        repo.add_line("new/piece.py", "tail")
        repo.commit("after")
        made = self.brief(repo)
        self.assert_cites(repo, made)
        for area in ("old/", "new/", "gone/"):
            mine = repo.lines("log", "--format=%H", "--full-history", "--", area)
            self.assertIn(f": {len(mine)} commits by ", made.about("What moved lately", area))
        self.assertIn(": 6 commits × ", made.about("Hot files", "new/piece.py:1"))
        self.assertNotIn("away.py", made.text)

    def test_long_history_in_pages(self):
        """Commits of many files: pages of the log are too long for one result, and the counts are right all the same."""
        repo = fixtures.Repo(os.path.join(self.dir, "long"), self.env)
        stream = []
        for number in range(230):
            stream.append(b"commit refs/heads/main\ncommitter A B <a@b> %d +0000\ndata 6\nstep %d" % (fixtures.START + number * 3600, number % 10))
            for part in range(number % 40 + 1):
                stream.append(b"M 100644 inline area%d/a-rather-long-directory-name/and-another-one/file-%03d.c\ndata 4\n%03d\n" % (number % 3, part, number))
        repo.git("fast-import", "--quiet", input=b"\n".join(stream) + b"\n")
        repo.git("reset", "-q", "--hard", "main")
        made = self.brief(repo)
        self.assertIn("230 commits in all", made.text)
        for area in ("area0/", "area1/", "area2/"):
            mine = repo.lines("log", "--format=%H", "--", area)
            self.assertIn(f": {len(mine)} commits by ", made.about("What moved lately", area))
        for line in made.bullets("Hot files"):
            name = AT_LINE.fullmatch(spans(line)[0]).group(1)
            self.assertIn(f": {len(repo.lines('log', '--format=%H', '--', name))} commits × 4 bytes", line)

    def test_commits_of_very_many_files_shorten_the_window_at_worst(self):
        repo = fixtures.Repo(os.path.join(self.dir, "wide"), self.env)
        stream = []
        for number in range(300):
            stream.append(b"commit refs/heads/main\ncommitter A B <a@b> %d +0000\ndata 4\nstep" % (fixtures.START + number * 3600))
            stream += [b"M 100644 inline area/a-rather-long-directory-name/and-another-one/file-%03d.c\ndata 4\n%03d\n" % (part, number) for part in range(150)]
        repo.git("fast-import", "--quiet", input=b"\n".join(stream) + b"\n")
        repo.git("reset", "-q", "--hard", "main")
        made = self.brief(repo)
        window = int(re.search(r"the newest (\d+) commits", made.text).group(1))
        self.assertGreater(window, 100)
        self.assertIn(f": {window} commits by ", made.about("What moved lately", "area/"))
        for line in made.bullets("Hot files"):
            self.assertIn(f": {window} commits × 4 bytes", line)

    def test_blame_that_is_longer_than_a_result(self):
        repo = fixtures.Repo(os.path.join(self.dir, "patched"), self.env)
        repo.write("big.c", fixtures.lines(3000))
        repo.commit("begin")
        for part in range(8):
            rows = repo.read("big.c").decode().split("\n")
            for row in range(part, 3000, 16):
                rows[row] = f"changed {part} {row}"
            repo.write("big.c", "\n".join(rows))
            repo.commit(f"part {part}", fixtures.BOB if part % 2 else fixtures.CY)
        line = self.brief(repo).about("Who knows what", "big.c")
        blamed = [row[7:] for row in repo.lines("blame", "--line-porcelain", "big.c") if row.startswith("author ")]
        self.assertIn("(3000 lines)", line)
        for author in set(blamed):
            self.assertRegex(line, rf"\b{author} {blamed.count(author)} lines")

    def test_very_many_uncommitted_changes(self):
        repo = fixtures.Repo(os.path.join(self.dir, "dirty"), self.env)
        repo.write("a.c", "int a;\n")
        repo.commit("begin")
        for number in range(700):
            repo.write(f"new/{'a-long-name-' * 15}{number}.c", "x\n")
        for number in range(700):
            repo.write(f"{'a-long-name-' * 15}{number}.c", "x\n")
        state = self.brief(repo).bullets("State of the work tree")
        self.assertIn("main", spans(state[0]))
        count = len(repo.git("status", "--porcelain", "-z", "-unormal").split("\0")) - 1
        self.assertTrue(state[1].startswith(f"{count} paths with uncommitted changes"), state)

    def test_window_is_the_newest_commits(self):
        repo = fixtures.Repo(os.path.join(self.dir, "deep"), self.env)
        stream = [b"commit refs/heads/main\ncommitter A B <a@b> %d +0000\ndata 4\nstep\nM 100644 inline f%d.c\ndata 4\n%03d\n"
                  % (fixtures.START + n * 3600, n % 2, n) for n in range(450)]
        repo.git("fast-import", "--quiet", input=b"\n".join(stream) + b"\n")
        repo.git("reset", "-q", "--hard", "main")
        made = self.brief(repo)
        window = repo.lines("log", "-400", "--format=%H")
        line = next(line for line in made.sections["What moved lately"] if line.startswith("Window"))
        self.assertIn("the newest 400 commits", line)
        self.assertEqual(spans(line), [window[-1][:10], window[0][:10]])
        for name in ("f0.c", "f1.c"):
            mine = [c for c in repo.lines("log", "--format=%H", "--", name) if c in window]
            self.assertIn(f": {len(mine)} commits × ", made.about("Hot files", name + ":1"))

    def test_fifty_thousand_files(self):
        repo = self.repo_of(fixtures.huge)
        made = self.brief(repo, "hot.c")
        self.assert_cites(repo, made)
        self.assertIn("50003 files, 1000", made.text)
        for line in made.bullets("Hot files"):
            name = AT_LINE.fullmatch(spans(line)[0]).group(1)
            mine = len(repo.lines("log", "--format=%H", "--", name))
            size = os.path.getsize(os.path.join(repo.path, name))
            self.assertIn(f": {mine} commits × {size} bytes = {mine * size}", line)
        bulk = repo.lines("log", "--format=%H", "--reverse")[0]
        self.assertIn(bulk[:10], spans(next(line for line in made.bullets("What moved lately") if "very many files" in line)))


class WithAModel(BriefCase):
    def test_model_decides_and_writes(self):
        """The same agent with a real HTTP model: it looks through the tools and writes what it saw."""
        repo = self.repo_of(fixtures.harbour)

        def results(request):
            named = {call["id"]: call["function"]["name"] for m in request.messages for call in m.get("tool_calls") or []}
            return [(named[m["tool_call_id"]], m["content"]) for m in request.messages if m["role"] == "tool"]

        def answer(request):
            turn = sum(m["role"] == "assistant" for m in request.messages)
            if turn == 0:
                return calls(("plan", {"items": [{"text": "look", "state": "doing"}, {"text": "write", "state": "todo"}]}))
            if turn == 1:
                return calls(("git.status", {}), ("git.log", {"limit": 3, "stat": True}), ("file.read", {"path": "README.md"}),
                             ("git.blame", {"path": "src/core.c", "from": 301, "to": 308}), ("search", {"pattern": "\\b(TODO|FIXME)\\b"}))
            seen = dict(results(request))
            commits = json.loads(seen["git_log"])["commits"]
            assert "Harbour" in seen["file_read"] and "core.c" in seen["search"] and json.loads(seen["git_blame"])["hunks"], seen
            return text("# Brief of Harbour\n\n" + "".join(f"- moved: `{c['id'][:10]}`\n" for c in commits), cut=50)

        with MockModel(answer) as model:
            done = self.moonlet("run", "brief", "the core", "--cwd", repo.path, "-m", "custom/mock", "--output", "json", env=self.environment(model))
        self.assertEqual(done.code, 0, done)
        self.assertEqual([s for s in spans(done.json()["text"])], [c[:10] for c in repo.lines("log", "-3", "--format=%H")])
        self.assertEqual(len(model.requests), 3)
        first = model.requests[0]
        self.assertIn("evidence", first.messages[0]["content"])
        self.assertEqual(first.messages[-1]["content"], "the core")
        self.assertIn("git_blame", first.tool_names())
        self.assertFalse({"file_write", "file_edit", "shell", "git_commit"} & set(first.tool_names()))
        self.assertNotIn("no model is configured", done.err.lower())

    def test_model_without_an_input_gets_a_task(self):
        repo = self.repo_of(fixtures.harbour)
        with MockModel([calls(("plan", {"items": [{"text": "write", "state": "doing"}]})), text("# Brief")]) as model:
            done = self.moonlet("run", "brief", "--cwd", repo.path, "-m", "custom/mock", env=self.environment(model))
        self.assertEqual(done.code, 0, done)
        user = [m for m in model.requests[0].messages if m["role"] == "user"]
        self.assertEqual(len(user), 1)

    def test_source_tree_of_moonlet_itself(self):
        inside = subprocess.run(["git", "rev-parse", "HEAD"], cwd=harness.SOURCE, env=self.env, capture_output=True, check=False)
        if inside.returncode:
            self.skipTest("the source is no git repository with commits")
        made = self.brief(str(harness.SOURCE))
        self.assert_cites(fixtures.Repo(harness.SOURCE, self.env, init=False), made)
        self.assert_safe(made)


if __name__ == "__main__":
    harness.main()
