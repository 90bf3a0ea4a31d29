-- SPDX-License-Identifier: MIT
-- commit-message: writes a message for what is staged (else for what is changed). Three drafts are written side by side, three judges
-- vote, and the draft with most votes is printed. Nothing is committed:
--     moonlet run commit-message
--     git commit -e -m "$(moonlet run commit-message 'fixes #12')"
local moon = require "moonlet"
local chain = moon.chain
local diff, log = moon.tool "git.diff", moon.tool "git.log"

local function writer(name, how)
  return moon.agent {
    name = name,
    tools = { "file.read", "search" },
    limits = { steps = 12, seconds = 300 },
    instructions = "You write the message of one commit: a subject of at most 72 characters in the form of the repository's latest subjects, and, where " ..
      "the change needs it, an empty line and a body. " .. how .. " Say nothing that the diff does not show. Answer with the message alone.",
  }
end

local drafts = chain.all {
  plain = writer("plain", "Say what changes for who uses or reads the code."),
  why = writer("why", "The body gives the reason, not the list of edits."),
  short = writer("short", "The subject has to be enough; write a body only if it would mislead without."),
}

local judge = moon.agent {
  name = "judge",
  tools = {},
  output = { choice = { enum = { "plain", "why", "short" } } },
  instructions = "You get a change and three messages for it. Choose the one that is true to the change, complete, and easiest to read in a log years from now.",
}

-- The change, how the latest subjects look, and what the user wants said.
local function material(wish, ctx)
  local change, err = diff:run { staged = true }
  if err then return nil, err end
  if change:find "^no differences" then change, err = diff:run {} end
  if err then return nil, err end
  if change:find "^no differences" then return nil, "there is no change: nothing is staged or modified" end
  local subjects = {}
  local newest = log:run { limit = 12 } -- there may be no commit yet
  for i, commit in ipairs(newest and newest.commits or {}) do subjects[i] = "- " .. commit.summary end
  ctx.state.change = "Latest subjects:\n" .. table.concat(subjects, "\n") .. "\n\n" .. (wish ~= "" and "To be said: " .. wish .. "\n\n" or "") ..
    "The change:\n" .. change
  return ctx.state.change
end

local function ballot(messages, ctx)
  ctx.state.messages = messages
  local parts = { ctx.state.change }
  for name, message in pairs(messages) do parts[#parts + 1] = "# " .. name .. "\n" .. message end
  return table.concat(parts, "\n\n")
end

return chain.seq {
  name = "commit-message",
  material, drafts, ballot,
  chain.vote(judge, { n = 3 }),
  function(vote, ctx) return (ctx.state.messages[vote.choice]:gsub("%s+$", "")) end,
}
