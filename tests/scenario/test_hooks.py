# SPDX-License-Identifier: MIT
"""Hooks on the command line: what they decided is kept, and taken from the journal when the run is resumed."""
import cut
import harness

# Hooks that change, refuse and answer at different places, some with runs and values of their own.
BUSY = """
local moon = require "moonlet"
local note = moon.agent { name = "note", tools = {}, model = moon.model.script(function(r) return "noted" end) }
local add = moon.tool { name = "add", description = "d", params = { n = "integer" }, effects = { idempotent = true },
  call = function(a) return a.n + 1 end }
return moon.agent { name = "busy", instructions = "Count.", tools = { add }, policy = { add = "allow" },
  hooks = {
    before_model = function(r)
      if r.step == 1 then
        note:run("before" .. r.step)
        return { instructions = "Count on.", messages = { { role = "user", content = "from " .. (moon.time() > 0 and 1 or 0) } } }
      end
      if r.step == 3 then return { tool_calls = { { name = "add", arguments = { n = 30 } } } } end
    end,
    after_model = function(a)
      if a.step == 2 then note:run("after" .. a.step) return { tool_calls = { { name = "add", arguments = { n = 20 } }, { name = "add", arguments = { n = 21 } } } } end
      if a.step == 4 then return a.text .. "." end
    end,
    before_tool = function(c)
      moon.sleep(0)
      if c.arguments.n == 1 then return { arguments = { n = 10 } } end
      if c.arguments.n == 21 then return nil, "enough" end
      if c.arguments.n == 30 then return { result = { kept = 31 } } end
    end,
    after_tool = function(c, r)
      if c.arguments.n == 10 then note:run("tool" .. c.arguments.n) return r.text .. " seen" end
      if c.arguments.n == 20 then return nil, "private" end
    end,
  },
  model = moon.model.script(function(r)
    if r.step < 3 then return { text = "step " .. r.step, tool_calls = { { name = "add", arguments = { n = r.step } } } } end
    local out = {}
    for i, m in ipairs(r.messages) do out[i] = m.role:sub(1, 1) .. "=" .. m.content end
    return r.step .. " " .. table.concat(out, "|")
  end) }
"""
TEXT = ("3 s=Count.|u=go|u=from 1|a=step 1|t=11 seen|a=step 2|t=the result was withheld: private|"
        "t=add was refused: enough. Do not try it again; go on without it.|a=|t={\"kept\":31}.\n")


class Hooks(cut.Cut):
    def test_they_are_resumed_at_every_event(self):
        script = self.file("busy.lua", BUSY)

        def once(n, journal):
            decided = self.shown(self.newest(*journal), "hook.decided", journal=journal)
            keys = [(e["body"]["hook"], e["body"].get("call")) for e in decided]
            self.assertEqual(sorted(keys, key=str), sorted(first, key=str), n)
            usage = [e["body"]["usage"]["steps"] for e in self.shown(self.newest(*journal), "run.finished", journal=journal) if not e["path"]]
            self.assertEqual(usage[-1], 7, n)

        whole = self.moonlet("run", script, "go")
        self.assertEqual((whole.code, whole.out), (0, TEXT), whole)
        first = [(e["body"]["hook"], e["body"].get("call")) for e in self.shown(self.newest(), "hook.decided")]
        self.resumed_everywhere(script, check=once)

    def test_they_are_shown(self):
        done = self.moonlet("run", self.file("busy.lua", BUSY), "go", "--verbose")
        self.assertIn("hook before_tool: refuse c3 enough", done.err)
        shown = self.moonlet("show", self.newest()).out
        self.assertIn('hook before_tool: change c1 {"arguments":{"n":10}}', shown)
        self.assertIn('hook after_tool: refuse c2 "private"', shown)
        self.assertNotIn("none", shown)

    def test_a_replay_takes_what_they_decided(self):
        self.assertEqual(self.moonlet("run", self.file("busy.lua", BUSY), "go").code, 0)
        for live in ((), ("--live-tools",)):
            done = self.moonlet("replay", self.newest(), *live, "--output", "stream-json")
            self.assertEqual((done.code, done.events()[-1]["body"]["text"]), (0, TEXT[:-1]), done)
            self.assertEqual([e for e in done.events("run.created") if e["path"]], [], "a hook was asked")

    def test_a_hook_that_waits_can_be_left_and_taken_up(self):
        script = self.file("wait.lua", """
            local moon = require "moonlet"
            local x = moon.tool { name = "x", description = "d", call = function() return "made" end }
            return moon.agent { name = "w", tools = { x }, policy = { x = "allow" },
              hooks = { before_tool = function(call)
                local said = moon.wait("leave", { timeout = 3600 })
                if not (said and said.ok) then return nil, said and said.why or "nobody answered" end
              end },
              model = moon.model.script(function(r)
                if r.step < 3 then return { tool_calls = { { name = "x" } } } end
                return r.messages[3].content .. "; " .. r.messages[5].content end) }
        """)
        done = self.moonlet("run", script, "go", "--park")
        self.assertEqual(done.code, 4, done)
        run = self.newest()
        self.moonlet("signal", run, "leave", '{"ok":true}')
        self.assertEqual(self.moonlet("resume", run, "--park").code, 4)
        self.moonlet("signal", run, "leave", '{"ok":false,"why":"not twice"}')
        done = self.moonlet("resume", run, "--park")
        self.assertEqual((done.code, done.out), (0, "made; x was refused: not twice. Do not try it again; go on without it.\n"), done)

    def test_a_hook_that_fails_ends_the_run_and_is_asked_again(self):
        def write(body):
            return self.file("f.lua", f"""
                local moon = require "moonlet"
                return moon.agent {{ name = "f", tools = {{}}, model = moon.model.script {{ "said" }}, hooks = {{
                  after_model = function(a) {body} end }} }}
            """)
        done = self.moonlet("run", write("error 'not now'"), "go", "--output", "json")
        self.assertEqual((done.code, done.json()["stop_reason"]), (1, "failed"), done)
        self.assertRegex(done.json()["error"], r"hook after_model \(.*/f\.lua:4\) of agent f: .*/f\.lua:4: not now")
        write("return a.text .. ' and mended'")
        done = self.moonlet("resume")
        self.assertEqual((done.code, done.out), (0, "said and mended\n"), done)
        run = self.newest()
        self.assertEqual(len(self.shown(run, "model.response")), 1)

    def test_a_refusal_is_the_end(self):
        script = self.file("r.lua", """
            local moon = require "moonlet"
            return moon.agent { name = "r", tools = {}, hooks = { before_model = function() return nil, "closed on Sundays" end } }
        """)
        done = self.moonlet("run", script, "go", "--output", "json")
        self.assertEqual((done.code, done.json()["stop_reason"]), (5, "refused"), done)
        self.assertIn("closed on Sundays", done.json()["error"])
        self.assertEqual(self.shown(self.newest(), "model.request"), [])


if __name__ == "__main__":
    harness.main()
