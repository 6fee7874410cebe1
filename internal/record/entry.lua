-- entry: what stands in a lane for a job: one byte each with the lengths of id and
-- kind, the id, the kind, and "<max attempts>", or "<ended attempts> <max attempts>"
-- once there are any; then flags, for few: 's' it is set aside when it fails, 'h' it halts
-- its lane when it fails for good, 'u' it has a unique key, 'k' its outcome is kept, '~'
-- it is suspended. An entry of the kind '~' is a ticket: no job, but somebody who waits to
-- run a section. Ids are bytes, so nothing here may go through string.format('%s'): in
-- Redis' Lua that stops at a NUL.

-- The parts of an entry; byte and sub cost a fifth of string.match.
local function id_of(entry)
  return sub(entry, 3, 2 + byte(entry))
end

local function kind_of(entry)
  local id, kind = byte(entry, 1, 2)
  return sub(entry, 3 + id, 2 + id + kind)
end

-- rules_of returns what an entry says besides id and kind: its counts and flags, as text.
local function rules_of(entry)
  local id, kind = byte(entry, 1, 2)
  return sub(entry, 3 + id + kind)
end

-- attempted reports whether any attempt of the job has ended.
local function attempted(entry)
  local id, kind = byte(entry, 1, 2)
  return find(entry, ' ', 3 + id + kind, true)
end

-- flagged reports whether an entry has any flag. Flags stand last and are above all digits, so
-- one byte tells of most entries that they have none.
local function flagged(entry)
  return byte(entry, -1) > 57
end

local function flag(entry, letter)
  if not flagged(entry) then
    return false
  end
  local id, kind = byte(entry, 1, 2)
  return find(entry, letter, 3 + id + kind, true) ~= nil
end

local function suspended(entry)
  return byte(entry, -1) == 126
end

-- as_suspended and as_resumed are the entry of the same job while it is suspended, and when it is not.
local function as_suspended(entry)
  return entry .. '~'
end

local function as_resumed(entry)
  return sub(entry, 1, -2)
end

local function is_ticket(entry)
  return byte(entry, 3 + byte(entry)) == 126
end

-- counts_of returns the ended attempts, the maximum, and the flags of an entry.
local function counts_of(entry)
  local counts = rules_of(entry)
  local attempts, max, flags = string.match(counts, '^(%d+) (%d+)(.*)$')
  if not attempts then
    max, flags = string.match(counts, '^(%d+)(.*)$')
  end
  return tonumber(attempts or 0), tonumber(max), flags
end

-- entry_of makes an entry; max is decimal text, with the flags behind it.
local function entry_of(id, kind, attempts, max)
  local counts = attempts > 0 and whole(attempts) .. ' ' .. max or max
  return string.char(#id, #kind) .. id .. kind .. counts
end

-- with_attempts is the entry of the same job after so many attempts.
local function with_attempts(entry, attempts)
  local _, max, flags = counts_of(entry)
  return entry_of(id_of(entry), kind_of(entry), attempts, whole(max) .. flags)
end

-- readable reports whether an entry has the parts that scripts go by.
local function readable(entry)
  local id, kind = byte(entry, 1, 2)
  return kind and id > 0 and kind > 0 and #entry > 2 + id + kind
    and string.match(sub(entry, 3 + id + kind), '^%d+ ?%d*[shuk~]*$') ~= nil
end
