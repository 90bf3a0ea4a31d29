# SPDX-License-Identifier: MIT
"""The tests that are written in Lua (tests/lua/test_*.lua): each is a script that runs its cases and says how they went."""
import pathlib

import harness


class Lua(harness.Case):
    def check(self, path):
        done = self.moonlet("run", str(path), "go", "--output", "json", env=self.environment(MOONLET_JOURNAL="off"))
        self.assertEqual(done.code, 0, done)
        result = done.json()["output"]
        self.assertEqual(result["failed"], [], "\n".join(result["failed"]))
        self.assertGreater(result["passed"], 0)


for file in sorted((harness.SOURCE / "tests/lua").glob("test_*.lua")):
    setattr(Lua, file.stem, lambda self, file=file: self.check(file))

if __name__ == "__main__":
    harness.main()
