-- enqueue: put jobs at the tails of their lanes, or on the schedule. A job that fell due before takes
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

local a = arrivals(clock())
-- A full memory refuses an enqueue that places what is due like any other.
local _, waits = take_due(a.now, '')
a.behind = waits

-- Checks. Nothing of these jobs is written before all have passed.
a.known = light(a.n) and call('HMGET', JOBS, unpack(a.ids)) -- else each is read when it is looked at
a.heads = call('HMGET', HEADS, unpack(a.subjects))
a.stored = call('HLEN', JOBS)
a.deep = a.stored + a.n > a.max_lane -- else no lane can be full: its depth need not be asked
local nth, word, count = admit(a)
if word then
  return { 'refused', nth, word, count }
end

-- Writes. The first is one that a full memory refuses (I10).
local fresh, first_seq, seqs = #a.fresh, 0, {}
if fresh > 0 then
  first_seq = call('HINCRBY', CLOCK, 'seq', fresh) - fresh + 1
  if first_seq == 1 then
    call('HSET', HEADS, FILLER, '') -- the first in this partition
  end
  local numbers, bodies, to = numbering(a, first_seq - 1)
  seqs = numbers
  call('HSET', JOBS, unpack(bodies))
  grown(a, bodies, 2)
  call('SADD', KINDS, unpack(unwords(ARGV[FIRST + 3])))
  for _, tail in ipairs(to.order) do
    call('RPUSH', tail, unpack(to.tails[tail]))
  end
  if next(a.unique) then
    take_keys(a)
  end
  if #to.opened > 0 then
    open_lanes(to.opened, to.openers)
  end
  schedule(to.scheduled, waits)
end
if next(a.merges) then
  merge_all(a, seqs)
end

if fresh == a.n and not next(a.later) then
  remember('created ' .. whole(first_seq))
  return { 'created', first_seq }
end
local reply = { 'ok' }
for i = 1, a.n do
  local id, said = a.ids[i], a.said[i]
  local at = a.first[id]
  if said then
    reply[2 * i], reply[2 * i + 1] = said[1], said[2]
  else
    reply[2 * i] = at == i and '1' or '0'
    reply[2 * i + 1] = at and seqs[at] or seq_of(a.known and a.known[i] or body_of(a, id))
  end
end
if fresh > 0 or next(a.merges) then
  remember(words(reply))
end
return reply
