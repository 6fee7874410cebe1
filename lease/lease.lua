-- lease: the one record of who holds a subject, and the one way out of it.
-- Prepended, after fence, to every script that gives or ends leases.

-- grant writes new leases over subjects that the caller has checked to be free.
-- Tokens are max(last + 1, microseconds of the clock): they rise across crashes,
-- empty lanes and a failover that lost the last ones (I2).
local function grant(subjects, holder, ttl, now, now_us)
  local token = math.max(tonumber(call('HGET', CLOCK, 'token') or 0) + 1, now_us)
  local tokens, records, deadlines = {}, {}, {}
  for i, subject in ipairs(subjects) do
    tokens[i] = whole(token + i - 1)
    records[2 * i - 1], records[2 * i] = subject, tokens[i] .. ' ' .. holder
    deadlines[2 * i - 1], deadlines[2 * i] = now + ttl, subject
  end
  if #subjects > 0 then
    call('HSET', CLOCK, 'token', tokens[#tokens])
    many('HSET', LEASES, records)
    many('ZADD', DEADLINES, deadlines)
  end
  return tokens
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
  local kind = string.match(entry, '^%d+ %d+ (%S+)')
  if not ready_lanes[kind] then
    ready_lanes[kind] = {}
    ready_kinds[#ready_kinds + 1] = kind
  end
  table.insert(ready_lanes[kind], subject)
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
