-- lease: giving leases of subjects, and the one way out of them.

-- grant writes new leases over subjects, at least one, that the caller has checked
-- to be free. The token is max(last + 1, microseconds of the clock): it rises across
-- crashes, empty lanes and a failover that lost the last ones (I2). It is one for
-- the whole call: tokens are compared only with others of the same subject. The
-- end of a 'job' lease without a word makes a failed attempt of it.
-- along[subject] is how many jobs behind the head the holder took along; nil is none.
local function grant(subjects, use, holder, deadline, now_us, along)
  local last, token = look().token, now_us
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

-- asks_of returns what is asked of the holders of subjects, by subject.
local function asks_of(subjects, records)
  local asks, of = {}, {}
  for i, subject in ipairs(subjects) do
    if asked(records[i]) then
      of[#of + 1] = subject
    end
  end
  for i, text in ipairs(many('HMGET', extra('asks'), of)) do
    asks[of[i]] = text or nil
  end
  return asks
end

-- free ends leases, and what is asked of their holders (asks, by subject). It is the first write of every script that
-- calls it: HDEL is allowed when memory is full, and what follows a script's first write is too (I10). It returns
-- why lanes are to be parked now, by subject: those that were to be suspended.
local function free(subjects, asks)
  many('HDEL', LEASES, subjects)
  many('ZREM', DEADLINES, subjects)
  local parks, of = {}, {}
  for subject, text in pairs(asks) do
    of[#of + 1] = subject
    local stop = suspend_asked(text)
    parks[subject] = stop and with_value('', 'suspended', stop) or nil
  end
  many('HDEL', extra('asks'), of)
  return parks
end
