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

local before, stale = recall()
if stale then
  return { stale }
elseif before then
  return unwords(before)
end

local max_lane, max_jobs = tonumber(ARGV[FIRST]), tonumber(ARGV[FIRST + 1])
local now = clock()
local jobs, subjects, ids = {}, {}, {}
for at = FIRST + 2, #ARGV, 6 do
  local when, due = ARGV[at + 4], nil
  if string.sub(when, 1, 1) == '+' then
    due = now + tonumber(string.sub(when, 2))
  elseif when ~= '' then
    due = tonumber(when)
  end
  local job = {
    subject = ARGV[at], id = ARGV[at + 1], kind = ARGV[at + 2], body = ARGV[at + 5],
    entry = '0 ' .. ARGV[at + 3] .. ' ' .. ARGV[at + 2] .. ' ' .. ARGV[at + 1],
    due = due and due > now and due, tail = KEYS[13 + #jobs],
  }
  jobs[#jobs + 1], subjects[#subjects + 1], ids[#ids + 1] = job, job.subject, job.id
end

-- Checks. Nothing is written before all have passed.
local known = many('HMGET', JOBS, ids)
local heads = many('HMGET', HEADS, subjects)
local depth, first, fresh, placed = {}, {}, 0, 0
local stored = call('HLEN', JOBS)
for i, job in ipairs(jobs) do
  local body = known[i] and string.sub(known[i], 13) or first[job.id] and first[job.id].body
  if body then
    -- Both start with the length-prefixed subject, so equal starts mean one subject.
    local start = #job.subject + (#job.subject < 128 and 1 or 2)
    if string.sub(body, 1, start) ~= string.sub(job.body, 1, start) then
      return { 'conflict', whole(i) }
    end
    job.same = first[job.id]
    job.seq = known[i] and number6(known[i])
  else
    first[job.id] = job
    job.fresh, fresh = true, fresh + 1
    if stored + fresh > max_jobs then
      return { 'backlog', whole(stored) }
    end
    if not job.due then
      if not depth[job.subject] then
        depth[job.subject] = heads[i] and call('LLEN', job.tail) + 1 or 0
      end
      if depth[job.subject] >= max_lane then
        return { 'full', whole(i), whole(depth[job.subject]) }
      end
      depth[job.subject] = depth[job.subject] + 1
      placed = placed + 1
    end
  end
end

-- Writes. The first is one that a full memory refuses (I10).
local seq = 0
if placed > 0 then
  seq = call('HINCRBY', CLOCK, 'seq', placed) - placed
end
local stamp = bytes6(now)
local bodies, scheduled, openers, tails, order, kinds = {}, {}, {}, {}, {}, {}
local headed = {}
for i, job in ipairs(jobs) do
  if job.fresh then
    if job.due then
      job.seq = 0
      scheduled[#scheduled + 1] = job
    else
      seq = seq + 1
      job.seq = seq
      if heads[i] or headed[job.subject] then
        if not tails[job.tail] then
          tails[job.tail] = {}
          order[#order + 1] = job.tail
        end
        table.insert(tails[job.tail], job.entry)
      else
        headed[job.subject] = true
        openers[#openers + 1] = job
      end
    end
    bodies[#bodies + 1] = job.id
    bodies[#bodies + 1] = bytes6(job.seq) .. stamp .. job.body
    kinds[job.kind] = true
  end
end
many('HSET', JOBS, bodies)
for kind in pairs(kinds) do
  call('SADD', KINDS, kind)
end
for _, tail in ipairs(order) do
  many('RPUSH', tail, tails[tail])
end

-- A lane that was empty gets a head, and is ready unless its subject is held.
local new = column(openers, 'subject')
local records = many('HMGET', LEASES, new)
local fields = {}
for i, job in ipairs(openers) do
  fields[2 * i - 1], fields[2 * i] = job.subject, job.entry
  if not records[i] then
    list(job.entry, job.subject)
  end
end
many('HSET', HEADS, fields)
publish('RPUSH', '')

-- A blocked worker sleeps until the first thing due that it knew of, so it is
-- woken when something falls due earlier.
for _, job in ipairs(scheduled) do
  local earliest = call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')[2]
  call('ZADD', SCHEDULED, job.due, #job.subject .. ' ' .. job.subject .. job.entry)
  if not earliest or job.due < tonumber(earliest) then
    call('ZADD', WAKE .. job.kind, 0, 'due')
  end
end

local reply = { 'ok' }
for _, job in ipairs(jobs) do
  reply[#reply + 1] = job.fresh and '1' or '0'
  reply[#reply + 1] = whole(job.seq or job.same.seq)
end
if fresh > 0 then
  remember(words(reply))
end
return reply
