-- SPDX-License-Identifier: MIT
-- What is easier to take away or to wrap in Lua than in C.
local host = ...
local xpcall, spent = xpcall, host.spent

-- A handler runs inside the hook that found the budget spent, where no hook can stop it: then it does not run.
function _G.xpcall(f, handler, ...)
  return xpcall(f, function(message)
    if spent() then return message end
    return handler(message)
  end, ...)
end
