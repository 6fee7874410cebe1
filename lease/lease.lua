-- lease: the one record of who holds a subject, and the one way out of it.
-- Prepended, after fence, to every script that gives or ends leases.

-- grant writes new leases over subjects, at least one, that the caller has checked
-- to be free. The token is max(last + 1, microseconds of the clock): it rises across
-- crashes, empty lanes and a failover that lost the last ones (I2). It is one for
-- the whole call: tokens are compared only with others of the same subject. `use`
-- says what the lease is for: 'job', an attempt at the lane's head, which its end
-- without a word makes a failed one; or 'section', which says nothing of any job.
local function grant(subjects, use, holder, deadline, now_us)
  local token = whole(math.max(tonumber(call('HGET', CLOCK, 'token') or 0) + 1, now_us))
  local record = token .. ' ' .. use .. ' ' .. holder
  local records, deadlines = {}, {}
  for i, subject in ipairs(subjects) do
    records[2 * i - 1], records[2 * i] = subject, record
    deadlines[2 * i - 1], deadlines[2 * i] = deadline, subject
  end
  call('HSET', CLOCK, 'token', token)
  call('HSET', LEASES, unpack(records))
  call('ZADD', DEADLINES, unpack(deadlines))
  return token
end

-- use_of and holder_of read a lease's record.
local function use_of(record)
  return string.match(record or '', '^%d+ (%a+)')
end

local function holder_of(record)
  return string.match(record or '', '^%d+ %a+ (.*)$') or 'unknown'
end

-- free ends leases. It is the first write of every script that calls it: HDEL is
-- allowed when memory is full, and what follows a script's first write is too (I10).
local function free(subjects)
  many('HDEL', LEASES, subjects)
  many('ZREM', DEADLINES, subjects)
end

-- Lanes to be listed as ready gather here, by the kind of their head.
local ready_kinds, ready_lanes = {}, {}

local function list(entry, subject)
  local kind = kind_of(entry)
  local lanes = ready_lanes[kind]
  if not lanes then
    lanes = {}
    ready_lanes[kind], ready_kinds[#ready_kinds + 1] = lanes, kind
  end
  lanes[#lanes + 1] = subject
end

-- publish lists the gathered lanes, at the back of the queue (a lane takes its
-- turn) or at the front (it was interrupted in its turn), and wakes one blocked
-- worker a kind. `own` holds the kinds that the caller claims next itself, each
-- between spaces: a hint for them would only wake others for nothing.
local function publish(push, own)
  for _, kind in ipairs(ready_kinds) do
    many(push, READY .. kind, ready_lanes[kind])
    if not string.find(own, ' ' .. kind .. ' ', 1, true) then
      call('ZADD', WAKE .. kind, 0, 'ready')
    end
  end
  ready_kinds, ready_lanes = {}, {}
end
