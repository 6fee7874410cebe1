-- enqueue: put jobs at the tails of their lanes, or on the schedule.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    'all' jobs are taken or none | 'each' job is taken or not
-- ARGV[7]    most jobs a lane may hold
-- ARGV[8]    most jobs the partition may hold
-- ARGV[9]    kinds of the jobs, with spaces between
-- ARGV[10+]  four a job: subject, entry,
--            when ('' now | '+ms' from now | ms), encoded job without its first
--            11 bytes (which this script puts there: sequence number and time)
--
-- Returns    {'created', first}: all jobs, with sequence numbers from first on
--            {'ok', (word, number) for each job}
--              '1'         created, and its sequence number: 0 when scheduled
--              '0'         existed, and its sequence number
--              'full'      not taken: its lane has no room; jobs there
--              'backlog'   not taken: the partition has no room; jobs there
--              'conflict'  not taken: the id is in use by a job of another subject; 0
--            {'refused', i, word, number}: none taken, because of the ith job
--            {'stale'}

local before = answered()
if before then
  return before
end

local each = ARGV[FIRST] == 'each'
local max_lane, max_jobs = tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])
local JOB = FIRST + 4
local now = clock()
local subjects, ids, n = {}, {}, 0
for at = JOB, #ARGV, 4 do
  n = n + 1
  subjects[n], ids[n] = ARGV[at], id_of(ARGV[at + 1])
end

-- due returns when a job is to take its place, or nil when it is now.
local function due(when)
  local at = tonumber(when)
  if sub(when, 1, 1) == '+' then
    at = now + tonumber(when)
  end
  return at > now and at or nil
end

-- Checks. Nothing is written before all have passed.
local known = call('HMGET', JOBS, unpack(ids))
local heads = call('HMGET', HEADS, unpack(subjects))
local stored = call('HLEN', JOBS)
local deep = stored + n > max_lane -- else no lane can be full: its depth need not be asked
local first, fresh, later, depth, said, placed = {}, {}, {}, {}, {}, 0

-- check returns nil when the ith job may be taken, or says why not.
local function check(i, subject, id, when, encoded)
  if known[i] or first[id] then
    -- Jobs start with the length-prefixed subject, so equal starts mean one subject.
    local start = #subject + (#subject < 128 and 1 or 2)
    local old = known[i] and sub(known[i], 12, 11 + start)
      or sub(ARGV[JOB + 3 + (first[id] - 1) * 4], 1, start)
    if old ~= sub(encoded, 1, start) then
      return 'conflict', 0
    end
    return nil
  end
  if stored + #fresh >= max_jobs then
    return 'backlog', stored
  end
  local at = when ~= '' and due(when) or nil
  if not at then
    if deep then
      local d = depth[subject] or heads[i] and call('LLEN', KEYS[12 + i]) + 1 or 0
      if d >= max_lane then
        return 'full', d
      end
      depth[subject] = d + 1
    end
    placed = placed + 1
  end
  first[id], later[i], fresh[#fresh + 1] = i, at, i
  return nil
end

for i = 1, n do
  local at = JOB + (i - 1) * 4
  local word, count = check(i, subjects[i], ids[i], ARGV[at + 2], ARGV[at + 3])
  if word then
    if not each then
      return { 'refused', i, word, count }
    end
    said[i] = { word, count }
  end
end

-- Writes. The first is one that a full memory refuses (I10).
local seq, seqs = 0, {}
if placed > 0 then
  seq = call('HINCRBY', CLOCK, 'seq', placed) - placed
end
local stamp = big_endian(now, 6)
local bodies, scheduled, openers, opened, tails, order = {}, {}, {}, {}, {}, {}
local high, high_at = '', -1 -- all but the last two bytes change seldom
for k = 1, #fresh do
  local i = fresh[k]
  local at = JOB + (i - 1) * 4
  local subject, entry, nth = subjects[i], ARGV[at + 1], 0
  if later[i] then
    scheduled[#scheduled + 1] = { later[i], #subject .. ' ' .. subject .. entry, kind_of(entry) }
  else
    seq = seq + 1
    nth = seq
    local tail = KEYS[12 + i]
    if tails[tail] then
      tails[tail][#tails[tail] + 1] = entry
    elseif heads[i] or openers[subject] then
      tails[tail], order[#order + 1] = { entry }, tail
    else
      openers[subject], opened[#opened + 1] = entry, subject
    end
  end
  seqs[i] = nth
  local upper = (nth - nth % 65536) / 65536
  if upper ~= high_at then
    high_at, high = upper, big_endian(upper, 3)
  end
  bodies[2 * k - 1] = ids[i]
  bodies[2 * k] = high .. string.char((nth - nth % 256) / 256 % 256, nth % 256) .. stamp .. ARGV[at + 3]
end
if #fresh > 0 then
  call('HSET', JOBS, unpack(bodies))
  local kinds = {}
  for kind in string.gmatch(ARGV[FIRST + 3], '%S+') do
    kinds[#kinds + 1] = kind
  end
  call('SADD', KINDS, unpack(kinds))
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

if placed == n then
  remember('created ' .. whole(seq - n + 1))
  return { 'created', seq - n + 1 }
end
local reply = { 'ok' }
for i = 1, n do
  if said[i] then
    reply[2 * i], reply[2 * i + 1] = said[i][1], said[i][2]
  else
    local at = first[ids[i]]
    reply[2 * i] = at == i and '1' or '0'
    reply[2 * i + 1] = at and seqs[at] or number(known[i], 1, 5)
  end
end
if #fresh > 0 then
  remember(words(reply))
end
return reply
