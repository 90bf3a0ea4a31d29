# SPDX-License-Identifier: MIT
"""The ten steps of docs/lua.md, done word by word: files are written, commands run, and what they print is compared."""
import json
import os
import pathlib
import re
import subprocess
import unittest

import harness

PAGE = harness.SOURCE / "docs" / "lua.md"


def steps():
    """[(title, [(language, text), …]), …]: the fenced blocks of each step, those before the first one under ""."""
    text = PAGE.read_text()
    text = text[: text.index("\n## ", text.index("## Ten steps") + 1)]
    found, title = [("", [])], ""
    for match in re.finditer(r"^### ([^\n]+)$|^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if match[1]:
            found.append((match[1], []))
        else:
            found[-1][1].append((match[2], match[3]))
    return found


class Steps(harness.Case):
    def setUp(self):
        super().setUp()
        self.file("a.txt", "TODO write this\n")
        self.file("b.txt", "TODO and this\n")
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        os.symlink(harness.binary(), os.path.join(self.bin, "moonlet"))

    def shell(self, text):
        if "RUN" in text:
            lines = text.splitlines()
            first = "\n".join(line for line in lines if "RUN" not in line)
            self.shell(first)
            run = json.loads(self.moonlet("runs", "--json").out)[0]["run"]
            out, err = self.shell("\n".join(line for line in lines if "RUN" in line).replace("RUN", run))
            return out.replace(run, "RUN"), err
        env = dict(self.env, PATH=f"{self.bin}:{self.env['PATH']}")
        done = subprocess.run(["bash", "-c", text], cwd=self.work, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.PATIENCE)
        return done.stdout.decode(), done.stderr.decode()

    def test_every_step_prints_what_the_page_says(self):
        found = steps()
        self.assertEqual(len(found), 11, [title for title, _ in found])
        for title, blocks in found:
            out = err = None
            checked = 0
            for language, text in blocks:
                if language == "lua":
                    name = re.match(r"-- (\S+\.lua)\n", text)
                    self.assertTrue(name, f"{title}: a snippet without a file name")
                    self.file(name.group(1), text)
                elif language == "sh":
                    out, err = self.shell(text)
                elif language == "":
                    self.assertEqual(out, text, f"{title}\n{err}")
                    checked += 1
            self.assertTrue(checked or not title, f"{title}: nothing is compared")


class Links(harness.Case):
    def test_they_lead_somewhere(self):
        def anchors(page):
            return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", page.read_text())}

        for page in sorted((harness.SOURCE / "docs").glob("*.md")) + [harness.SOURCE / "README.md"]:
            text = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", page.read_text())
            for target in re.findall(r"\]\(([^)]+)\)", text):
                path, _, anchor = target.partition("#")
                if "://" in path:
                    continue
                with self.subTest(page.name, target=target):
                    file = page.parent / path if path else page
                    self.assertTrue(file.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(file))


class Snippets(harness.Case):
    """Snippets that are whole scripts can be loaded; nothing in them is run."""

    def test_they_describe_something(self):
        self.file("prompts/review.md", "Review {{path}}.")
        n = 0
        for page in sorted((harness.SOURCE / "docs").glob("*.md")) + [harness.SOURCE / "README.md"]:
            for text in re.findall(r'(?ms)^```lua\n((?:-- [^\n]*\n)?local moon = require "moonlet"\n.*?)^```$', page.read_text()):
                if not re.search(r"(?m)^return (?!moon\.model)", text) or re.search(r'"\w+\.lua"', text):
                    continue
                with self.subTest(page.name, text=text):
                    done = self.moonlet("graph", self.file("snippet.lua", text))
                    self.assertEqual((done.code, done.err), (0, ""), done)
                n += 1
        self.assertGreater(n, 15)


if __name__ == "__main__":
    harness.main()
