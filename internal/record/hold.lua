-- hold: a policy, which is all holds of a namespace as a partition knows them: "<version>", and a line a hold, "<id> <from, ms>
-- <until, ms> <scope> <kinds that it lets pass, or -> <what>". The scope is a letter: 'a' all; 'k' a kind; 'p' a pool; 'h' a
-- host; 'l' a lane, 'g' the lanes whose subjects begin so; 'w' a window, kinds with the ms from which each is barred,
-- " <kind>=<from> <kind>=<from> ". The bytes of a subject that would cut a line are written as %xx.

local FOREVER = 9999999999999

-- policy_version is 0 of what is no policy.
local function policy_version(policy)
  return tonumber(string.match(policy or '', '^(%d+)\n') or 0)
end

-- hold_ids returns the ids of a policy's holds, as a set.
local function hold_ids(policy)
  local ids = {}
  for id in string.gmatch(policy, '\n(%S+) ') do
    ids[id] = true
  end
  return ids
end

-- holds_of returns the holds of a policy that are on at a moment. What can't be read bars everything.
local function holds_of(policy, now)
  local on, readable = {}, policy_version(policy) > 0
  for line in string.gmatch(string.match(policy, '\n(.*)') or '', '[^\n]+') do
    local id, from, till, scope, except, what = string.match(line, '^(%S+) (%d+) (%d+) ([akphlgw]) (%S+) ?(.*)$')
    if not id then
      readable = false
    elseif tonumber(from) <= now and now < tonumber(till) then
      if scope == 'l' or scope == 'g' then
        what = string.gsub(what, '%%(%x%x)', function(code) return string.char(tonumber(code, 16)) end)
      end
      on[#on + 1] = { id = id, till = tonumber(till), scope = scope, except = ',' .. except .. ',', what = what }
    end
  end
  if not readable then
    on[#on + 1] = { id = '?', till = FOREVER, scope = 'a', except = ',-,', what = '' }
  end
  return on
end

-- lets_pass reports whether a hold is not about a kind; nil is the kind of a section, which is none.
local function lets_pass(hold, kind)
  return kind and find(hold.except, ',' .. kind .. ',', 1, true) ~= nil
end

-- window_from is from when on a window bars a kind, ms, or nil when it does not.
local function window_from(window, kind)
  local _, at = find(window, ' ' .. kind .. '=', 1, true)
  return at and tonumber(string.match(window, '^%d+', at + 1))
end

-- bars_claims returns the first hold that keeps a claimant of a pool and on a host from a kind, whatever the lane.
local function bars_claims(holds, kind, pool, host, now)
  for _, hold in ipairs(holds) do
    local scope, what = hold.scope, hold.what
    local bars = scope == 'a' or scope == 'k' and what == kind or scope == 'p' and what == pool or scope == 'h' and what == host
      or scope == 'w' and kind and (window_from(what, kind) or FOREVER) <= now
    if bars and not lets_pass(hold, kind) then
      return hold
    end
  end
end

-- bars_lane returns the first hold that is about a lane, whoever claims.
local function bars_lane(holds, subject, kind)
  for _, hold in ipairs(holds) do
    local what = hold.what
    local bars = hold.scope == 'l' and what == subject or hold.scope == 'g' and sub(subject, 1, #what) == what
    if bars and not lets_pass(hold, kind) then
      return hold
    end
  end
end
