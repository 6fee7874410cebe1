-- claim: take up to n ready lanes and give their heads out under new leases.
--
-- ARGV[6]   holder
-- ARGV[7]   ttl      ms
-- ARGV[8]   n        0 only passes a hint on to another worker
-- ARGV[9+]  kinds that the caller handles, the one whose turn it is in front
--
-- Returns   {'ok', ready, token, (subject, entry, encoded job)...}
--           ready: how many lanes of these kinds are left, as far as was looked
--           {'stale'}

local holder, ttl, wanted = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])

-- report answers with those subjects that ok accepts, their heads and bodies; and
-- returns those subjects too.
local function report(ready, token, subjects, ok)
  if #subjects == 0 then
    return { 'ok', whole(ready), token }, subjects
  end
  local heads = call('HMGET', HEADS, unpack(subjects))
  local records = call('HMGET', LEASES, unpack(subjects))
  local ids = {}
  for i = 1, #subjects do
    ids[i] = heads[i] and id_of(heads[i]) or ''
  end
  local bodies = call('HMGET', JOBS, unpack(ids))
  local reply, n, kept, taken = { 'ok', whole(ready), token }, 3, {}, {}
  for i, subject in ipairs(subjects) do
    if heads[i] and bodies[i] and ok(records[i]) and not taken[subject] then
      taken[subject], kept[#kept + 1] = true, subject
      reply[n + 1], reply[n + 2], reply[n + 3] = subject, heads[i], bodies[i]
      n = n + 3
    end
  end
  return reply, kept
end

-- A claim is remembered as its token and deadline, not by its reply, which holds
-- payloads. The same request again gets the same lanes, those that are still its own.
local before, stale = recall()
if stale then
  return { stale }
elseif before then
  local token, deadline = string.match(before, '^(%d+) (%d+)$')
  local own = call('ZRANGEBYSCORE', DEADLINES, deadline, deadline, 'LIMIT', 0, 1000)
  return (report(0, token, own, function(record) return fenced(record, token) end))
end

local popped, ready = {}, 0
for k = FIRST + 3, #ARGV do
  local key = READY .. ARGV[k]
  if #popped < wanted then
    for _, subject in ipairs(call('LPOP', key, wanted - #popped) or {}) do
      popped[#popped + 1] = subject
    end
  end
  -- What is left is for somebody else: one waker a kind, and it wakes the next.
  if #popped >= wanted then
    local left = call('LLEN', key)
    if left > 0 then
      ready = ready + left
      call('ZADD', WAKE .. ARGV[k], 0, 'ready')
    end
  end
end

-- A lane in ready has a head and no lease (I4). An index that says otherwise is
-- corrupt; it gives nothing out, so a subject never has two holders (I1).
local reply, subjects = report(ready, '0', popped, function(record) return not record end)
if #subjects > 0 then
  local now, now_us = clock()
  reply[3] = grant(subjects, 'job', holder, now + ttl, now_us)
  remember(reply[3] .. ' ' .. whole(now + ttl))
end
return reply
