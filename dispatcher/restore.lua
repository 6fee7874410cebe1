-- restore: give a job that stands in no place, or in several, exactly one (I7).
--
-- ARGV[6]   id
-- ARGV[7]   why it becomes a dead letter, when it stands nowhere
-- ARGV[8]   'yes' when it stands in a lane
-- ARGV[9]   the member of the schedule that may stand for it, or ''
-- ARGV[10+] those that may not
--
-- Returns   {'ok', what was done...}
--
-- A lane goes before the schedule, and a dead letter before the schedule too: what
-- was set aside must not run by surprise. What stands nowhere is set aside as lost and
-- found, so that nobody's work is thrown away by a repair.

local id, why, in_lane = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2] == 'yes'
local now = clock()
local body, dead = call('HEXISTS', JOBS, id) == 1, call('ZSCORE', DEAD, id)
local done = { 'ok' }

local function did(what)
  done[#done + 1] = what
end

local scheduled = false
for i = FIRST + 3, #ARGV do
  if call('ZSCORE', SCHEDULED, ARGV[i]) then
    if i == FIRST + 3 and body and not in_lane and not dead then
      scheduled = true
    else
      call('ZREM', SCHEDULED, ARGV[i])
      did('took it off the schedule')
    end
  end
end
if dead and (in_lane or not body) then
  call('ZREM', DEAD, id)
  dead = false
  did('took it from the dead letters')
end
if body and not in_lane and not scheduled and not dead then
  bury({ { id, '0', 'lost+found', why } }, now)
  did('moved it to lost+found')
elseif dead and call('HEXISTS', REASONS, id) == 0 then
  call('HSET', REASONS, id, '0 unknown\nits reason was lost')
  did('noted that its reason is unknown')
elseif not dead and call('HDEL', REASONS, id) == 1 then
  did('dropped the reason of no dead letter')
end
return done
