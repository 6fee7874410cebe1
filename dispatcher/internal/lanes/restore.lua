-- restore: give a job that stands in no place, or in several, exactly one (I7).
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   id
-- ARGV[7]   why it becomes a dead letter, when it stands nowhere
-- ARGV[8]   'lane' when it was seen in a lane, else ''
-- ARGV[9]   its subject, and
-- ARGV[10]  its entry, by its body; '' when that can't be read
-- ARGV[11]  the member of the schedule that may stand for it, or ''
-- ARGV[12+] those that may not
--
-- Returns   {'ok', what was done...}
--
-- A lane goes before the schedule, and a dead letter before the schedule too: what
-- was set aside must not run by surprise. A job that stands nowhere is set aside as lost and
-- found, so that nobody's work is thrown away by a repair. It moves all the time, so
-- where it stands is looked up again here, before it is set aside.

local id, why, in_lane = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2] == 'lane'
local subject, entry = ARGV[FIRST + 3], ARGV[FIRST + 4]

local now = clock()
local body, dead = call('HEXISTS', JOBS, id) == 1, call('ZSCORE', DEAD, id)
local done = { 'ok' }

local function did(what)
  done[#done + 1] = what
end

local scheduled = false
for i = FIRST + 5, #ARGV do
  if call('ZSCORE', SCHEDULED, ARGV[i]) then
    if i == FIRST + 5 and body and not in_lane and not dead then
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

-- stands looks for it in the whole tail, which takes as long as that is: only a repair does.
local function stands()
  return call('HGET', HEADS, subject) == entry
    or call('ZSCORE', SCHEDULED, scheduled_as(subject, order_in_store(id), entry))
    or call('LPOS', TAIL .. subject, entry)
end

if body and not in_lane and not scheduled and not dead and not (subject ~= '' and stands()) then
  bury({ { entry ~= '' and entry or entry_of(id, '?', '1'), 0, 'lost+found', why } }, now)
  did('moved it to lost+found')
elseif dead and call('HEXISTS', REASONS, id) == 0 then
  call('HSET', REASONS, id, reason_as(0, 'unknown', 'its reason was lost'))
  did('noted that its reason is unknown')
elseif not dead and call('HDEL', REASONS, id) == 1 then
  did('dropped the reason of no dead letter')
end
return done
