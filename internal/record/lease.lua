-- lease: the record of who holds a subject: "<token> <use>[+<jobs along>][!] <holder>". The use is 'job',
-- an attempt at the lane's head; 'section' or 'slot', which say nothing of any job. Jobs along are behind the head, were
-- given out with it or since, and not reported yet. With '!' something is asked of the holder: see ask.

-- FILLER is no subject and has more than 64 bytes. Redis keeps small hashes and zsets
-- as flat lists that it searches from end to end; a long member in them makes it use
-- its real structures. In leases and deadlines it saves a third of a turn's instructions, in heads
-- two fifths of an enqueue's where there are some hundred lanes.
local FILLER = '\0----------------------------------------------------------------'

local function lease_as(token, use, holder, along)
  return token .. ' ' .. use .. (along and '+' .. along or '') .. ' ' .. holder
end

-- is_lease reports whether a record can be read.
local function is_lease(record)
  return string.match(record, '^%d+ %a+%+?%d*!? .') ~= nil
end

local function token_of(record)
  return string.match(record, '^%d+')
end

local function use_of(record)
  return string.match(record or '', '^%d+ (%a+)')
end

local function along_of(record)
  return tonumber(string.match(record or '', '^%d+ %a+%+(%d+)') or 0)
end

-- with_along is the record with n jobs along.
local function with_along(record, n)
  return (string.gsub(record, '^(%d+ %a+)%+?%d*', '%1' .. (n > 0 and '+' .. n or ''), 1))
end

local function holder_of(record)
  return string.match(record or '', '^%d+ %S+ (.*)$') or 'unknown'
end

-- asked reports whether something is asked of the holder, and as_asked is the record when that is, or is not.
local function asked(record)
  return record and find(record, '!', 1, true) ~= nil and find(record, '^%d+ [%a%d+]+! ') ~= nil
end

local function as_asked(record, is)
  local token, use, holder = string.match(record, '^(%d+) ([%a%d+]+)!? (.*)$')
  return token .. ' ' .. use .. (is and '! ' or ' ') .. holder
end
