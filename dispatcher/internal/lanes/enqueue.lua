-- enqueue: put jobs at the tails of their lanes, or on the schedule. What fell due before takes
-- its place first; when that is more than one call places, these jobs line up behind it on the
-- schedule, due now (I14).
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    'all' jobs are taken or none | 'each' job is taken or not
-- ARGV[7]    most jobs a lane may hold
-- ARGV[8]    most jobs the partition may hold, and most windows of unique keys
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
--              'windows'   not taken: there is no room for another window of a key; those there
--              'heavy'     not taken: jobs that exist, of these, have too many bytes for one call
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
local unique, takes, merges = {}, {}, {}
for at = UNIQUE, #ARGV, 5 do
  unique[tonumber(ARGV[at])] = at
end

-- runs reports whether a job of a subject may have been started, and has not ended.
local running = {}

local function runs(subject, id)
  if not running[subject] then
    local record, started = call('HGET', LEASES, subject), {}
    local head = use_of(record) == 'job' and call('HGET', HEADS, subject)
    local along = head and along_of(record) or 0
    for _, entry in ipairs(along > 0 and call('LRANGE', TAIL .. subject, 0, along - 1) or {}) do
      started[id_of(entry)] = true
    end
    if head then
      started[id_of(head)] = true
    end
    running[subject] = started
  end
  return running[subject][id]
end

-- body_of returns the stored job of an id, or false. Of jobs that exist only the first bytes are
-- wanted, but Redis gives all of them: so each is read once, and no more than what a call may bring,
-- with what is stored of a job besides its payload: what was enqueued can be enqueued again. What is
-- beyond is 'heavy', and has to come in another call.
local MOST_BESIDES, has_read, stored_as = 5120, 0, {}

local function body_of(id)
  if stored_as[id] == nil then
    local length = call('HSTRLEN', JOBS, id)
    if length > 0 and has_read > 0 and has_read + length > MOST_BYTES + n * MOST_BESIDES then
      return 'heavy'
    end
    has_read = has_read + length
    stored_as[id] = length > 0 and call('HGET', JOBS, id)
  end
  return stored_as[id]
end

local function seq_in_store(id)
  local body = body_of(id)
  return body and seq_of(body) or 0
end

-- A full memory refuses an enqueue that places what is due like any other.
local _, behind = take_due(now, '')

-- alike reports whether a job that has a unique key goes by the same rules as an entry:
-- replacing its payload must not change them, for its entry stays.
local function alike(id, entry)
  local _, rules = name_of(call('HGET', extra('names'), id))
  return rules == rules_of(entry)
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
    local till = moment(call('ZSCORE', extra('windows'), field)) or 0
    return till > now and id or nil -- nobody may be there to reap
  elseif not body_of(id) then
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
local known = light(n) and call('HMGET', JOBS, unpack(ids)) -- else each is read when it is looked at
local heads = call('HMGET', HEADS, unpack(subjects))
local stored = call('HLEN', JOBS)
local deep = stored + n > max_lane -- else no lane can be full: its depth need not be asked
local first, fresh, later, depth, said, placed = {}, {}, {}, {}, {}, 0

local windows -- in which unique keys stay taken, once they were counted

-- check returns nil when the ith job may be taken, or says why not.
local function check(i, subject, id, when)
  local exists
  if known then
    exists = known[i]
  else
    exists = body_of(id)
  end
  if exists == 'heavy' then
    return 'heavy', has_read
  elseif exists or first[id] then
    local same = exists and is_of(exists, subject) or not exists and subjects[first[id]] == subject
    return not same and 'conflict' or nil, 0
  end
  if unique[i] then
    local other, here = rival(i, subject)
    if other or here then
      local on = ARGV[unique[i] + 4]
      local entry = ARGV[JOB + 1 + (i - 1) * 4]
      if other and body_of(other) == 'heavy' then
        return 'heavy', has_read
      elseif on == 'reject' or on == 'replace' and other
        and (not alike(other, entry) or not body_of(other) or runs(subject, other)) then
        return 'taken', other or ids[here]
      end
      merges[i] = { other or ids[here], here, on }
      return nil
    end
  end
  if stored + #fresh >= max_jobs then
    return 'backlog', stored
  end
  if unique[i] and tonumber(ARGV[unique[i] + 3]) > 0 then -- which may stay long after its job
    windows = windows or call('ZCARD', extra('windows'))
    if windows >= max_jobs then
      return 'windows', windows
    end
    windows = windows + 1
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
  local word, count = check(i, subjects[i], ids[i], ARGV[at + 2])
  if word then
    if word == 'taken' then
      count = owner(count, seq_in_store(count))
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
  local change = merges[i]
  if change and change[2] and change[3] == 'replace' then
    encoded[change[2]] = ARGV[JOB + 3 + (i - 1) * 4]
  end
end

-- grown notes the longest of some new bodies, every stride-th of a table, where that is a new one.
local function grown(new, stride)
  local longest = SMALL
  for i = stride, #new, stride do
    if #new[i] > longest then
      longest = #new[i]
    end
  end
  if longest > SMALL and (stored == 0 or longest > tonumber(call('HGET', CLOCK, 'largest') or 0)) then
    call('HSET', CLOCK, 'largest', longest)
  end
end

local bodies, scheduled, openers, opened, tails, order = {}, {}, {}, {}, {}, {}
for k = 1, #fresh do
  local i = fresh[k]
  local at = JOB + (i - 1) * 4
  local subject, entry = subjects[i], ARGV[at + 1]
  seq = seq + 1
  if later[i] then
    scheduled[#scheduled + 1] = { later[i], scheduled_as(subject, ordered(seq), entry), kind_of(entry) }
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
  bodies[2 * k - 1] = ids[i]
  bodies[2 * k] = with_seq(seq, later[i], stamp .. (encoded[i] or ARGV[at + 3]))
end
if #fresh > 0 then
  call('HSET', JOBS, unpack(bodies))
  grown(bodies, 2)
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
    call('HSET', extra('names'), id, name_as('0', rules_of(ARGV[JOB + 1 + (fresh[k] - 1) * 4]), field))
    if window > 0 then
      call('ZADD', extra('windows'), now + window, field)
    end
  end
end
for i = 1, n do
  local change = merges[i]
  if change then
    local id, here, on = change[1], change[2], change[3]
    if on == 'replace' and not here then
      local body = rewritten(body_of(id), ARGV[JOB + 3 + (i - 1) * 4])
      call('HSET', JOBS, id, body)
      grown({ body }, 1)
    elseif on == 'merge' then
      merge_into(id)
    end
    said[i] = { on == 'merge' and 'merged' or 'replaced', owner(id, here and seqs[here] or seq_in_store(id)) }
  end
end

-- A lane that was empty gets a head, and is ready unless its subject is leased or parked.
if #opened > 0 then
  local records, parked = call('HMGET', LEASES, unpack(opened)), call('ZMSCORE', PARKED, unpack(opened))
  local fields, lanes = {}, {}
  for i, subject in ipairs(opened) do
    fields[2 * i - 1], fields[2 * i] = subject, openers[subject]
    if not records[i] and not parked[i] then
      lanes[#lanes + 1], lanes[#lanes + 2] = subject, openers[subject]
    end
  end
  call('HSET', HEADS, unpack(fields))
  list_ready(lanes, 'RPUSH', '')
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
    reply[2 * i + 1] = at and seqs[at] or seq_of(known and known[i] or body_of(ids[i]))
  end
end
if #fresh > 0 or next(merges) then
  remember(words(reply))
end
return reply
