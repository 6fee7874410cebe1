-- schedule: how a job stands on the schedule: its subject, five bytes of order_of or ordered, by which those of
-- one subject that fall due at the same moment stand in order, and its entry.

local function scheduled_as(subject, order, entry)
  return with_subject(subject, order .. entry)
end

-- scheduled_of returns the subject and the entry of a member.
local function scheduled_of(member)
  local subject, rest = without_subject(member)
  return subject, sub(rest, 6)
end
