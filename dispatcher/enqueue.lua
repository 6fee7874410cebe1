-- enqueue: put jobs at the tails of their lanes, or on the schedule. What fell due before takes
-- its place first; when that is more than one call places, these jobs line up behind it on the
-- schedule, due now (I14).
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    'all' jobs are taken or none | 'each' job is taken or not
-- ARGV[7]    most jobs a lane may hold
-- ARGV[8]    most jobs the partition may hold
-- ARGV[9]    kinds of the jobs, with spaces between
-- ARGV[10]   number of jobs
-- ARGV[11+]  four a job: subject, entry,
--            when ('' now | '+ms' from now | ms), encoded job without its first
--            11 bytes (which this script puts there: sequence number and time);
--            then five a job that has a unique key: which job, field in unique, scope
--            'waiting' | 'waiting+running' | 'window', ms of the window, on conflict
--            'merge' | 'reject' | 'replace'
--
-- Returns    {'created', first}: all jobs, with sequence numbers from first on
--            {'ok', (word, number) for each job}
--              '1'         created, and its sequence number: 0 when scheduled
--              '0'         existed, and its sequence number
--              'full'      not taken: its lane has no room; jobs there
--              'backlog'   not taken: the partition has no room; jobs there
--              'conflict'  not taken: the id is in use by a job of another subject; 0
--              'merged'    not taken: '<seq>,<jobs merged>,<id in hex>' of the one that
--                          has the unique key; or 'replaced', which has the new payload
--                          now; or 'taken'
--            {'refused', i, word, number}: none taken, because of the ith job
--            {'stale'}

local before = answered()
if before then
  return before
end

local each = ARGV[FIRST] == 'each'
local max_lane, max_jobs = tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])
local n, JOB = tonumber(ARGV[FIRST + 4]), FIRST + 5
local UNIQUE = JOB + 4 * n
local now = clock()
local subjects, ids = {}, {}
for i = 1, n do
  local at = JOB + 4 * (i - 1)
  subjects[i], ids[i] = ARGV[at], id_of(ARGV[at + 1])
end

-- Unique keys: by job, where in ARGV its key stands; by field, the job of this call that
-- takes it.
local unique, takes, rewritten = {}, {}, {}
for at = UNIQUE, #ARGV, 5 do
  unique[tonumber(ARGV[at])] = at
end

-- runs reports whether a job of a subject may have been started, and has not ended.
local function runs(subject, id)
  local record = call('HGET', LEASES, subject)
  local head = use_of(record) == 'job' and call('HGET', HEADS, subject)
  if not head then
    return false
  elseif id_of(head) == id then
    return true
  end
  local along = along_of(record)
  for _, entry in ipairs(along > 0 and call('LRANGE', TAIL .. subject, 0, along - 1) or {}) do
    if id_of(entry) == id then
      return true
    end
  end
  return false
end

-- A full memory refuses an enqueue that places what is due like any other.
local _, behind = take_due(now)
publish('RPUSH', '')

-- alike reports whether a job that has a unique key goes by the same rules as an entry:
-- replacing its payload must not change them, for its entry stays.
local function alike(id, entry)
  return string.match(call('HGET', extra('names'), id) or '', '^%d+ (%S+) ') == rules_of(entry)
end

-- rival returns the id of the job that has a unique key which the ith job wants; or the
-- number of the one in this call that takes it.
local function rival(i, subject)
  local field, scope = ARGV[unique[i] + 1], ARGV[unique[i] + 2]
  if takes[field] then
    return nil, takes[field]
  end
  local id = call('HGET', extra('unique'), field)
  if not id or scope == 'waiting' and runs(subject, id) then
    return nil
  elseif scope == 'window' then
    local till = moment(call('ZSCORE', extra('expiring'), 'w' .. field)) or 0
    return till > now and id or nil -- nobody may be there to reap
  elseif call('HEXISTS', JOBS, id) == 0 then
    return nil -- it outlived its job, in a window or by a lost key
  end
  return id
end

-- due returns when a job is to take its place, or nil when it is now; and whether it is due now.
local function due(when)
  local at = tonumber(when) or now
  if sub(when, 1, 1) == '+' then
    at = now + tonumber(when)
  end
  return (at > now or behind) and math.max(at, now) or nil, at <= now
end

-- Checks. Nothing of these jobs is written before all have passed.
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
  if unique[i] then
    local other, here = rival(i, subject)
    if other or here then
      local on = ARGV[unique[i] + 4]
      local entry = ARGV[JOB + 1 + (i - 1) * 4]
      if on == 'reject' or on == 'replace' and other
        and (not alike(other, entry) or call('HEXISTS', JOBS, other) == 0 or runs(subject, other)) then
        return 'taken', other or ids[here]
      end
      rewritten[i] = { other or ids[here], here, on }
      return nil
    end
  end
  if stored + #fresh >= max_jobs then
    return 'backlog', stored
  end
  local at, is_due = due(when)
  if is_due then
    if deep then
      local d = depth[subject] or heads[i] and call('LLEN', KEYS[12 + i]) + 1 or 0
      if d >= max_lane then
        return 'full', d
      end
      depth[subject] = d + 1
    end
    placed = placed + (at and 0 or 1)
  end
  first[id], later[i], fresh[#fresh + 1] = i, at, i
  if unique[i] then
    takes[ARGV[unique[i] + 1]] = i
  end
  return nil
end

for i = 1, n do
  local at = JOB + (i - 1) * 4
  local word, count = check(i, subjects[i], ids[i], ARGV[at + 2], ARGV[at + 3])
  if word then
    if word == 'taken' then
      count = owner(count)
    end
    if not each then
      return { 'refused', i, word, count }
    end
    said[i] = { word, count }
  end
end

-- Writes. The first is one that a full memory refuses (I10).
local seq, seqs = 0, {}
if #fresh > 0 then
  seq = call('HINCRBY', CLOCK, 'seq', #fresh) - #fresh
end
local stamp = big_endian(now, 6)
local encoded = {} -- of those whose payload another one has replaced
for i = 1, n do
  local change = rewritten[i]
  if change and change[2] and change[3] == 'replace' then
    encoded[change[2]] = ARGV[JOB + 3 + (i - 1) * 4]
  end
end
local bodies, scheduled, openers, opened, tails, order = {}, {}, {}, {}, {}, {}
local high, high_at = '', -1 -- all but the last two bytes change seldom
for k = 1, #fresh do
  local i = fresh[k]
  local at = JOB + (i - 1) * 4
  local subject, entry = subjects[i], ARGV[at + 1]
  seq = seq + 1
  local nth = seq % UNPLACED
  if later[i] then
    nth = nth + UNPLACED
    scheduled[#scheduled + 1] = { later[i], scheduled_as(subject, big_endian(seq % UNPLACED, 5), entry), kind_of(entry) }
  else
    local tail = KEYS[12 + i]
    if tails[tail] then
      tails[tail][#tails[tail] + 1] = entry
    elseif heads[i] or openers[subject] then
      tails[tail], order[#order + 1] = { entry }, tail
    else
      openers[subject], opened[#opened + 1] = entry, subject
    end
  end
  seqs[i] = later[i] and 0 or seq
  local upper = (nth - nth % 65536) / 65536
  if upper ~= high_at then
    high_at, high = upper, big_endian(upper, 3)
  end
  bodies[2 * k - 1] = ids[i]
  bodies[2 * k] = high .. string.char((nth - nth % 256) / 256 % 256, nth % 256) .. stamp .. (encoded[i] or ARGV[at + 3])
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
for k = 1, #fresh do
  local at = unique[fresh[k]]
  if at then
    local id, field, window = ids[fresh[k]], ARGV[at + 1], tonumber(ARGV[at + 3])
    local before_it = call('HGET', extra('unique'), field)
    if before_it and not call('ZSCORE', DEAD, before_it) then
      call('HDEL', extra('names'), before_it) -- it runs, and has the key no longer
    end
    call('HSET', extra('unique'), field, id)
    call('HSET', extra('names'), id, '0 ' .. rules_of(ARGV[JOB + 1 + (fresh[k] - 1) * 4]) .. ' ' .. field)
    if window > 0 then
      call('ZADD', extra('expiring'), now + window, 'w' .. field)
    end
  end
end
for i = 1, n do
  local change = rewritten[i]
  if change then
    local id, here, on = change[1], change[2], change[3]
    if on == 'replace' and not here then
      call('HSET', JOBS, id, sub(call('HGET', JOBS, id), 1, 11) .. ARGV[JOB + 3 + (i - 1) * 4])
    elseif on == 'merge' then
      merge_into(id)
    end
    said[i] = { on == 'merge' and 'merged' or 'replaced', owner(id, here and seqs[here]) }
  end
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
  local earliest = moment(call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')[2])
  call('ZADD', SCHEDULED, job[1], job[2])
  if behind or not earliest or job[1] < earliest then
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
    reply[2 * i + 1] = at and seqs[at] or seq_of(known[i])
  end
end
if #fresh > 0 or next(rewritten) then
  remember(words(reply))
end
return reply
