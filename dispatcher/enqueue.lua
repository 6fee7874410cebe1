-- enqueue: put jobs at the tails of their lanes, or on the schedule; all or none.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    most jobs a lane may hold
-- ARGV[7]    most jobs the partition may hold
-- ARGV[8+]   six a job: subject, id, kind, max attempts,
--            when ('' now | '+ms' from now | ms), encoded job without its first
--            12 bytes (which this script puts there: sequence number and time)
--
-- Returns    {'ok', (created '1' | '0', seq)...}, seq '0' for a scheduled job
--            {'full', i, depth}: the lane of the ith job has no room
--            {'backlog', jobs}: the partition has no room
--            {'conflict', i}: the ith id is in use by a job of another subject
--            {'stale'}

local before = answered()
if before then
  return before
end

local max_lane, max_jobs = tonumber(ARGV[FIRST]), tonumber(ARGV[FIRST + 1])
local now = clock()
local subjects, ids, n = {}, {}, 0
for at = FIRST + 2, #ARGV, 6 do
  n = n + 1
  subjects[n], ids[n] = ARGV[at], ARGV[at + 1]
end

-- due returns when a job is to take its place, or nil when it is now.
local function due(when)
  local at = tonumber(when)
  if string.sub(when, 1, 1) == '+' then
    at = now + tonumber(when)
  end
  return at > now and at or nil
end

-- Checks. Nothing is written before all have passed.
local known = call('HMGET', JOBS, unpack(ids))
local heads = call('HMGET', HEADS, unpack(subjects))
local stored = call('HLEN', JOBS)
local depth, first, fresh, later, placed, kinds = {}, {}, {}, {}, 0, {}
for i = 1, n do
  local at = FIRST + 2 + (i - 1) * 6
  local subject, id, when, encoded = ARGV[at], ARGV[at + 1], ARGV[at + 4], ARGV[at + 5]
  if known[i] or first[id] then
    -- Jobs start with the length-prefixed subject, so equal starts mean one subject.
    local start = #subject + (#subject < 128 and 1 or 2)
    local old = known[i] and string.sub(known[i], 13, 12 + start)
      or string.sub(ARGV[FIRST + 7 + (first[id] - 1) * 6], 1, start)
    if old ~= string.sub(encoded, 1, start) then
      return { 'conflict', whole(i) }
    end
  else
    first[id] = i
    fresh[#fresh + 1] = i
    kinds[ARGV[at + 2]] = true
    if stored + #fresh > max_jobs then
      return { 'backlog', whole(stored) }
    end
    later[i] = when ~= '' and due(when) or nil
    if not later[i] then
      local d = depth[subject] or heads[i] and call('LLEN', KEYS[12 + i]) + 1 or 0
      if d >= max_lane then
        return { 'full', whole(i), whole(d) }
      end
      depth[subject] = d + 1
      placed = placed + 1
    end
  end
end

-- Writes. The first is one that a full memory refuses (I10).
local seq, seqs = 0, {}
if placed > 0 then
  seq = call('HINCRBY', CLOCK, 'seq', placed) - placed
end
local stamp = bytes6(now)
local bodies, scheduled, openers, opened, tails, order = {}, {}, {}, {}, {}, {}
local high, high_at = bytes6(0), -1 -- all but the last two bytes change seldom
for _, i in ipairs(fresh) do
  local at = FIRST + 2 + (i - 1) * 6
  local subject, id, entry = ARGV[at], ARGV[at + 1], nil
  entry = entry_of(id, ARGV[at + 2], '0', ARGV[at + 3])
  if later[i] then
    seqs[i] = 0
    scheduled[#scheduled + 1] = { later[i], #subject .. ' ' .. subject .. entry, ARGV[at + 2] }
  else
    seq = seq + 1
    seqs[i] = seq
    if heads[i] or openers[subject] then
      local tail = tails[KEYS[12 + i]]
      if not tail then
        tail = {}
        tails[KEYS[12 + i]], order[#order + 1] = tail, KEYS[12 + i]
      end
      tail[#tail + 1] = entry
    else
      openers[subject] = entry
      opened[#opened + 1] = subject
    end
  end
  if math.floor(seqs[i] / 65536) ~= high_at then
    high_at = math.floor(seqs[i] / 65536)
    high = string.sub(bytes6(seqs[i]), 1, 4)
  end
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = high .. string.char(math.floor(seqs[i] / 256) % 256, seqs[i] % 256)
    .. stamp .. ARGV[at + 5]
end
many('HSET', JOBS, bodies)
for kind in pairs(kinds) do
  call('SADD', KINDS, kind)
end
for _, tail in ipairs(order) do
  call('RPUSH', tail, unpack(tails[tail]))
end

-- A lane that was empty gets a head, and is ready unless its subject is held.
if #opened > 0 then
  local records = call('HMGET', LEASES, unpack(opened))
  local fields = {}
  for i, subject in ipairs(opened) do
    fields[2 * i - 1], fields[2 * i] = subject, openers[subject]
    if not records[i] then
      list(openers[subject], subject)
    end
  end
  call('HSET', HEADS, unpack(fields))
  publish('RPUSH', '')
end

-- A blocked worker sleeps until the first thing due that it knew of, so it is
-- woken when something falls due earlier.
for _, job in ipairs(scheduled) do
  local earliest = call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')[2]
  call('ZADD', SCHEDULED, job[1], job[2])
  if not earliest or job[1] < tonumber(earliest) then
    call('ZADD', WAKE .. job[3], 0, 'due')
  end
end

local reply = { 'ok' }
for i = 1, n do
  reply[2 * i] = first[ids[i]] == i and '1' or '0'
  reply[2 * i + 1] = whole(seqs[i] or known[i] and number6(known[i]) or seqs[first[ids[i]]])
end
if #fresh > 0 then
  remember(words(reply))
end
return reply
