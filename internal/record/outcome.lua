-- outcome: how a job has ended, as long as that is kept: "<finished|cancelled> <attempts> <when, ms> " and a
-- result behind the subject.

local function outcome_as(outcome, attempts, now, subject, result)
  return outcome .. ' ' .. whole(attempts) .. ' ' .. whole(now) .. ' ' .. with_subject(subject, result)
end

-- outcome_bytes is what an outcome counts for: itself, its id, and what indexes need for it.
local function outcome_bytes(id, length)
  return length + #id + 200
end
