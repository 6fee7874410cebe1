-- park: why a lane that nobody holds may not be claimed, a line each: "backoff <until, ms>" its head waits for its next attempt;
-- "suspended <when, ms> <why>" by an operator, whose name stands before why where it is known, "@<who>\t"; "halted <when, ms> <why>" by its head, which has failed for good; "job -" its
-- head is suspended by itself; "hold <until, ms> <id>" an operator's rule, on this lane or on several. All but "suspended" are about the head.

-- stopped_by is what keeps a lane back until somebody resumes it: all but a backoff and a hold.
local function stopped_by(reasons)
  return without_value(without_value(reasons, 'backoff'), 'hold')
end

-- look_again is when to look at a parked lane again, ms as text: 'inf' is never by itself.
local function look_again(reasons)
  if stopped_by(reasons) ~= '' then
    return 'inf'
  end
  local backoff, held = value_in(reasons, 'backoff'), string.match(value_in(reasons, 'hold') or '', '^%d+')
  return held and whole(math.max(backoff or 0, held)) or backoff
end

-- of_next is what keeps a lane back when another job becomes its head. A lane that was halted stands still until somebody
-- resumes it, but no more because of its head.
local function of_next(reasons)
  local halted, rest = value_in(reasons, 'halted'), without_value(without_value(reasons, 'backoff'), 'job')
  rest = without_value(without_value(rest, 'halted'), 'hold') -- whoever claims it asks again what is held
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
