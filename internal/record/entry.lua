-- entry: what stands in a lane for a job, from its enqueue to its end: one byte each with the lengths of id and
-- kind, the id, the kind, "<max attempts>"; then flags, for few: 's' it is set aside when it fails, 'h' it halts
-- its lane when it fails for good, 'u' it has a unique key, 'k' its outcome is kept. It never changes: what comes of a job
-- stands in its note. An entry of the kind '~' is a ticket: no job, but somebody who waits to run a section.
-- Ids are bytes, so nothing here may go through string.format('%s'): in Redis' Lua that stops at a NUL.

-- The parts of an entry; byte and sub cost a fifth of string.match.
local function id_of(entry)
  return sub(entry, 3, 2 + byte(entry))
end

local function kind_of(entry)
  local id, kind = byte(entry, 1, 2)
  return sub(entry, 3 + id, 2 + id + kind)
end

-- rules_of returns what an entry says besides id and kind: its maximum and flags, as text.
local function rules_of(entry)
  local id, kind = byte(entry, 1, 2)
  return sub(entry, 3 + id + kind)
end

local function max_of(entry)
  return tonumber(string.match(rules_of(entry), '^%d+') or 0)
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

local function is_ticket(entry)
  return byte(entry, 3 + byte(entry)) == 126
end

-- entry_of makes an entry.
local function entry_of(id, kind, rules)
  return string.char(#id, #kind) .. id .. kind .. rules
end

-- readable reports whether an entry has the parts that scripts go by.
local function readable(entry)
  local id, kind = byte(entry, 1, 2)
  return kind and id > 0 and kind > 0 and #entry > 2 + id + kind
    and string.match(sub(entry, 3 + id + kind), '^%d+[shuk]*$') ~= nil
end
