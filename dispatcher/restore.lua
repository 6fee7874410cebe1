-- restore: give a job that stands in no place, or in several, exactly one (I7).
--
-- ARGV[6]   id
-- ARGV[7]   why it becomes a dead letter, when it stands nowhere
-- ARGV[8]   where it was seen at one moment: 'lane', 'elsewhere' or 'nowhere'
-- ARGV[9]   the member of the schedule that may stand for it, or ''
-- ARGV[10+] those that may not
--
-- Returns   {'ok', what was done...}
--
-- A lane goes before the schedule, and a dead letter before the schedule too: what
-- was set aside must not run by surprise. What stands nowhere is set aside as lost and
-- found, so that nobody's work is thrown away by a repair. A job that was seen nowhere
-- stays there, for every verb moves jobs from one place to another; but one that was seen
-- on the schedule may be in its lane by now, and is left alone unless it is taken off
-- the schedule here.

local id, why, in_lane = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2] == 'lane'
local nowhere = ARGV[FIRST + 2] == 'nowhere'
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
      nowhere = not in_lane
      did('took it off the schedule')
    end
  end
end
if dead and (in_lane or not body) then
  call('ZREM', DEAD, id)
  dead = false
  did('took it from the dead letters')
end
if body and nowhere and not scheduled and not dead then
  bury({ { id, '0', 'lost+found', why } }, now)
  did('moved it to lost+found')
elseif dead and call('HEXISTS', REASONS, id) == 0 then
  call('HSET', REASONS, id, '0 unknown\nits reason was lost')
  did('noted that its reason is unknown')
elseif not dead and call('HDEL', REASONS, id) == 1 then
  did('dropped the reason of no dead letter')
end
return done
