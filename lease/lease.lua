-- lease: giving leases of subjects, and the one way out of them.

-- grant writes new leases over subjects, at least one, that the caller has checked
-- to be free. The token is max(last + 1, microseconds of the clock): it rises across
-- crashes, empty lanes and a failover that lost the last ones (I2). It is one for
-- the whole call: tokens are compared only with others of the same subject. The
-- end of a 'job' lease without a word makes a failed attempt of it; one that is 'suspended' has
-- no end: a lane that nobody may have is one that is leased.
-- along[subject] is how many jobs behind the head the holder took along; nil is none.
local function grant(subjects, use, holder, deadline, now_us, along)
  local last, token = call('HGET', CLOCK, 'token'), now_us
  if last and tonumber(last) >= tonumber(now_us) then
    token = whole(last + 1)
  end
  local record = lease_as(token, use, holder)
  local records, deadlines = { FILLER, '' }, { 'inf', FILLER }
  for i = 1, #subjects do
    local subject = subjects[i]
    local n = along and along[subject]
    records[2 * i + 1] = subject
    records[2 * i + 2] = n and lease_as(token, use, holder, n) or record
    deadlines[2 * i + 1], deadlines[2 * i + 2] = deadline, subject
  end
  call('HSET', CLOCK, 'token', token)
  call('HSET', LEASES, unpack(records))
  call('ZADD', DEADLINES, unpack(deadlines))
  return token
end

-- stop closes a lane that nobody holds, until an operator resumes it.
local closed = {}

local function stop(subject)
  local _, now_us = clock()
  closed[subject] = true
  grant({ subject }, 'suspended', 'operator', 'inf', now_us)
end

-- free ends leases. It is the first write of every script that calls it: HDEL is
-- allowed when memory is full, and what follows a script's first write is too (I10).
-- records[i], of those that a script has read them of, tells whether the lane was to be
-- suspended at the end of its lease.
local function free(subjects, records)
  many('HDEL', LEASES, subjects)
  many('ZREM', DEADLINES, subjects)
  for i, subject in ipairs(subjects) do
    if marked(records[i], 's') then
      stop(subject)
    end
    if marked(records[i], 'c') then
      call('HDEL', extra('asks'), subject)
    end
  end
end
