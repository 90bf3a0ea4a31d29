# SPDX-License-Identifier: MIT
"""moonlet doc, the reference page, and what other pages say of the same things."""
import re
import unittest

import harness

TYPES = harness.SOURCE / "runtime" / "lua" / "types" / "moonlet.lua"


class Doc(harness.Case):
    def doc(self, *args):
        done = self.moonlet("doc", *args)
        self.assertEqual((done.code, done.err), (0, ""), done)
        return done.out

    def names(self):
        return re.findall(r"(?m)^  (\S+)", self.doc())

    def test_every_name_has_an_entry(self):
        names = self.names()
        declared = re.findall(r"(?m)^function ([\w.:]+)\(", TYPES.read_text())
        self.assertGreater(len(declared), 25)
        self.assertEqual([name for name in names if name in declared], declared)
        for name in names:
            with self.subTest(name):
                out = self.doc(name)
                self.assertTrue(out.startswith(name), out)
                self.assertGreater(len(out.splitlines()), 2)
                self.assertNotIn("---", out)
                self.assertNotIn("@param", out)

    def test_an_agents_entry_shows_its_fields(self):
        out = self.doc("moon.agent")
        self.assertTrue(out.startswith("moon.agent(spec: moonlet.AgentSpec): moonlet.Agent\n\nDescribes an agent."), out)
        self.assertIn("\nmoonlet.AgentSpec:\n  name?: string\n      Shown in events", out)

    def test_options_are_shown_with_those_that_all_take(self):
        out = self.doc("moon.way.few_shot")
        self.assertRegex(out, r"(?s)\nmoonlet\.FewShotOptions:\n.*\nmoonlet\.WayOptions:\n.*  keep\?: boolean\n.*\nmoonlet\.ChainOptions:\n.*  state\?: ")
        self.assertNotIn("moonlet.Runnable:", self.doc("moon.way.supervisor"))

    def test_modules_and_handles_list_their_members(self):
        self.assertRegex(self.doc("moon.parse"), r"\nmembers:\n  moon\.parse\.list +The items of a list: .*\n")
        self.assertIn("\n  Runnable:run ", self.doc("moonlet.Agent"))
        self.assertIn("\nis a moonlet.Runnable\n", self.doc("moonlet.Agent"))
        self.assertIn("\n  name: string\n", self.doc("Runnable"))
        self.assertIn("called as:\n  fun(spec: string|moonlet.PromptSpec): moonlet.Prompt\n", self.doc("prompt"))

    def test_names_may_be_short(self):
        for short, full in (("agent", "moon.agent"), ("parse.list", "moon.parse.list"), ("AgentSpec", "moonlet.AgentSpec"), ("agentspec", "moonlet.AgentSpec"),
                            ("runnable:RUN", "Runnable:run"), ("MOON.JSON", "moon.json"), ("Agent", "moonlet.Agent")):
            self.assertEqual(self.doc(short), self.doc(full), short)

    def test_mistakes(self):
        for args, said in ((("moon.agnet",), "did you mean moon.agent?"), (("pasre.list",), "did you mean"), (("zzzzzzzz",), "`moonlet doc` lists what there is"), (("a", "b"), "one name at a time"),
                           (("agent", "--types"), "one of them"), (("--markdwon",), "--markdown")):
            done = self.moonlet("doc", *args)
            self.assertEqual((done.code, done.out), (2, ""), done)
            self.assertIn(said, done.err)

    def test_types_are_the_file(self):
        self.assertEqual(self.doc("--types"), TYPES.read_text())

    def test_the_reference_page_is_up_to_date(self):
        page = (harness.SOURCE / "docs" / "reference.md").read_text()
        self.assertEqual(page, self.doc("--markdown"), "run scripts/gen-reference")

    def test_links_of_the_reference_page_lead_somewhere(self):
        page = (harness.SOURCE / "docs" / "reference.md").read_text()
        headings = {re.sub(r"[^a-z0-9]", "", title.lower()) for title in re.findall(r"(?m)^#+ (.*)$", page)}
        for target in re.findall(r"\]\(([^)]+)\)", page):
            if target.startswith("#"):
                self.assertIn(target[1:], headings)
            else:
                self.assertTrue((harness.SOURCE / "docs" / target.split("#")[0]).exists(), target)

    def test_the_guide_has_the_same_fields_of_an_agent(self):
        part = (harness.SOURCE / "docs" / "lua.md").read_text().split("\n## moon.agent\n")[1].split("\n## ")[0]
        guide = {name for row in re.findall(r"(?m)^\| (`.*?) \|", part) for name in re.findall(r"`(\w+)`", row)}
        block = TYPES.read_text().split("@class moonlet.AgentSpec\n")[1].split("\n\n")[0]
        self.assertEqual(guide, set(re.findall(r"@field (\w+)", block)))


class Guides(harness.Case):
    def test_they_have_every_combinator_and_every_way(self):
        types = TYPES.read_text()
        for page, part, module, besides in (("lua.md", "## Chains", "chain", set()), ("ways.md", "# Ways of prompting", "way", {"similarity"})):
            text = (harness.SOURCE / "docs" / page).read_text().split(f"{part}\n")[1].split("\n## ")[0]
            told = set(re.findall(r"(?m)^\| `(\w+)[ (]", text))
            self.assertEqual(told, set(re.findall(rf"\nfunction moon\.{module}\.(\w+)\(", types)) - besides, page)


class Schema(harness.Case):
    def test_the_page_names_the_words_that_count(self):
        page = (harness.SOURCE / "docs" / "schema.md").read_text()
        code = (harness.SOURCE / "runtime" / "base" / "schema.c").read_text()
        rows = re.findall(r"(?m)^\| (`.*?) \|", page)
        told = {word for row in rows for word in re.findall(r"`(\$?\w+)`", row)} - {"true", "false"}
        read = set(re.findall(r'(?:keyword|subschemas?|count|number|compile_definitions|moon_json_get)\((?:c, )?json, "([^"]+)"', code))
        for words in re.findall(r"keywords\[\] = \{(.*?)\}", code, re.S):
            read |= set(re.findall(r'"(\w+)"', words))
        self.assertEqual(told, read)


if __name__ == "__main__":
    harness.main()
