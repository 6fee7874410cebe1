-- due: jobs that wait for a time, and what comes of them then.

-- set_aside puts the jobs of heads that failed on the schedule (their kind says so), each {subject, entry, at};
-- the caller advances their lanes. It reads each body for its number: jobs of a subject that fall due at one
-- moment keep the order of their enqueues (I14).
local function set_aside(jobs)
  for _, job in ipairs(jobs) do
    local order = order_in_store(id_of(job[2]))
    call('ZADD', SCHEDULED, job[3], scheduled_as(job[1], order, job[2]))
  end
end

-- take_due gives jobs whose time has come their places at the tails of their lanes, in the order of their
-- times, with the sequence numbers of these places; lanes that get a head by it are listed. So when a job fell
-- due decides on its place, and not who looked when: whatever puts something behind a lane does this first
-- (I14). Payloads are copied, so bytes are bounded too: a call places a hundred jobs at most, and stops after
-- 512 KiB. Returns how many were placed, and whether others are due still. `own` is as for list_ready; a caller
-- that must go on when memory is full says so (urgent).
--
-- A job that is suspended by itself stays on the schedule, without a time. It costs one command where nothing
-- is due.
local MOST_DUE, MOST_DUE_BYTES = 100, 524288

local function take_due(now, own, urgent)
  local members = call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, MOST_DUE)
  if #members == 0 then
    return 0, false
  elseif urgent then
    despite_full_memory()
  end
  local seq = call('HINCRBY', CLOCK, 'seq', #members) - #members
  local subjects, entries, placed, bytes, taken, lanes = {}, {}, 0, 0, {}, {}
  for i, member in ipairs(members) do
    subjects[i], entries[i] = scheduled_of(member)
  end
  local notes = notes_of(ids_of(entries))
  for i, member in ipairs(members) do
    if bytes > MOST_DUE_BYTES then
      break
    end
    local subject, entry, suspended = subjects[i], entries[i], is_suspended(notes[i])
    local id = id_of(entry)
    local body = not suspended and call('HGET', JOBS, id)
    if suspended then
      call('ZADD', SCHEDULED, 'inf', member) -- until it is resumed
    else
      taken[#taken + 1] = member
    end
    if body then
      bytes, placed = bytes + #body, placed + 1
      call('HSET', JOBS, id, renumbered(body, seq + i))
      if call('HSETNX', HEADS, subject, entry) == 0 then
        call('RPUSH', TAIL .. subject, entry)
      elseif call('HEXISTS', LEASES, subject) == 0 and not call('ZSCORE', PARKED, subject) then
        lanes[#lanes + 1], lanes[#lanes + 2] = subject, entry
      end
    end
  end
  many('ZREM', SCHEDULED, taken)
  list_ready(lanes, 'RPUSH', own)
  local more = call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, 1)
  return placed, #more > 0
end
