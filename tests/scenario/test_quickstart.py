# SPDX-License-Identifier: MIT
"""scripts/quickstart, with a ninja that only says what it would do and a moonlet that only says how it was called."""
import os
import shutil
import stat
import subprocess

import harness

NINJA = """#!/bin/sh
# CMake's own try-outs are real; of the build only the commands are listed, and the program is the one below.
case "$*" in
"-C $TREE/build --quiet"*)
  shift 3
  "$REAL_NINJA" -C "$TREE/build" -t commands "$@" >"$TREE/commands" && cp "$TREE/fake" "$TREE/build/moonlet"
  ;;
*) exec "$REAL_NINJA" "$@" ;;
esac
"""
MOONLET = '#!/bin/sh\necho "called: $*"\nexit 3\n'


class Quickstart(harness.Case):
    def program(self, path, text):
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        os.chmod(path, stat.S_IRWXU)

    def quickstart(self, *args, **more):
        tree, tools = os.path.join(self.dir, "tree"), os.path.join(self.dir, "bin")
        os.mkdir(tree)
        os.mkdir(tools)
        for name in ("CMakeLists.txt", "runtime", "tools", "agents", "docs", "scripts"):
            os.symlink(harness.SOURCE / name, os.path.join(tree, name))
        self.program(os.path.join(tree, "fake"), MOONLET)
        self.program(os.path.join(tools, "ninja"), NINJA)
        env = dict(self.env, TREE=tree, REAL_NINJA=shutil.which("ninja"), PATH=tools + ":" + self.env["PATH"], **more)
        done = subprocess.run([os.path.join(tree, "scripts", "quickstart"), *args], env=env, capture_output=True, text=True,
                              timeout=harness.PATIENCE, check=False)
        with open(os.path.join(tree, "commands"), encoding="utf-8") as commands:
            return tree, done, commands.read()

    def test_builds_all_that_is_installed_and_runs_the_brief(self):
        tree, done, commands = self.quickstart(self.work)
        for made in ("moonlet", "libmoonlet.so", "libmoonlet.a"):
            self.assertRegex(commands, rf"(?m)[ /]{made}\b", done)
        self.assertEqual((done.returncode, done.stdout), (3, f"called: run brief --cwd {self.work}\n"), done)
        self.assertIn(f'export PATH="{tree}/build:$PATH"', done.stderr)


if __name__ == "__main__":
    harness.main()
