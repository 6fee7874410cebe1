-- park: why a lane that nobody holds may not be claimed, a line each: "backoff <until, ms>" its head waits for its next attempt;
-- "suspended <when, ms> <why>" by an operator, whose name stands before why where it is known, "@<who>\t"; "halted <when, ms> <why>" by its head, which has failed for good; "job -" its
-- head is suspended by itself. All but the second are about the head.

-- stopped_by is what keeps a lane back until somebody resumes it: all but a backoff.
local function stopped_by(reasons)
  return without_value(reasons, 'backoff')
end

-- look_again is when to look at a parked lane again, ms as text: 'inf' is never by itself.
local function look_again(reasons)
  return stopped_by(reasons) ~= '' and 'inf' or value_in(reasons, 'backoff')
end

-- of_next is what keeps a lane back when another job becomes its head. A lane that was halted stands still until somebody
-- resumes it, but no more because of its head.
local function of_next(reasons)
  local halted, rest = value_in(reasons, 'halted'), without_value(without_value(reasons, 'backoff'), 'job')
  rest = without_value(rest, 'halted')
  return halted and not value_in(rest, 'suspended') and with_value(rest, 'suspended', halted) or rest
end

-- since is how a stop says when and why; stopped_as says who did it too, where that is known. A why that looks as if it
-- began so is marked with nobody's name.
local function since(now, why)
  return whole(now) .. ' ' .. why
end

local function stopped_as(now, who, why)
  local marked = who ~= '' or sub(why, 1, 1) == '@'
  return since(now, (marked and '@' .. who .. '\t' or '') .. why)
end
