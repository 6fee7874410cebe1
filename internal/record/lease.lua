-- lease: the record of who holds a subject: "<token> <use>[+<jobs along>][!<marks>] <holder>". The use is 'job',
-- an attempt at the lane's head; 'section' or 'slot', which say nothing of any job; or 'suspended', a
-- lane that nobody may have. Jobs along are behind the head, were claimed with it and not reported yet. Marks are
-- what is asked of the holder: 's' to suspend the lane when the lease ends, 'c' to cancel its head.

-- FILLER is no subject and has more than 64 bytes. Redis keeps small hashes and zsets
-- as flat lists that it searches from end to end; a long member in them makes it use
-- its real structures. It saves a third of a turn's instructions.
local FILLER = '\0----------------------------------------------------------------'

local function lease_as(token, use, holder, along)
  return token .. ' ' .. use .. (along and '+' .. along or '') .. ' ' .. holder
end

-- is_lease reports whether a record can be read.
local function is_lease(record)
  return string.match(record, '^%d+ %a+%+?%d*!?%a* .') ~= nil
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
  return (string.gsub(record, '^(%d+ %a+)%+%d+', '%1' .. (n > 0 and '+' .. n or ''), 1))
end

local function holder_of(record)
  return string.match(record or '', '^%d+ %S+ (.*)$') or 'unknown'
end

local function marks_of(record)
  return string.match(record, '^%d+ [%a%d+]+!(%a+) ') or ''
end

local function marked(record, letter)
  return record and find(record, '!', 1, true) and find(marks_of(record), letter, 1, true) ~= nil
end

-- mark adds a mark to a record, and unmark takes all or one away.
local function unmark(record, letter)
  local token, use, marks, holder = string.match(record, '^(%d+) ([%a%d+]+)!(%a+) (.*)$')
  if not token then
    return record
  end
  marks = letter and string.gsub(marks, letter, '') or ''
  return token .. ' ' .. use .. (marks ~= '' and '!' .. marks or '') .. ' ' .. holder
end

local function mark(record, letter)
  local token, use, holder = string.match(record, '^(%d+) ([%a%d+]+)!?%a* (.*)$')
  return token .. ' ' .. use .. '!' .. marks_of(unmark(record, letter)) .. letter .. ' ' .. holder
end
