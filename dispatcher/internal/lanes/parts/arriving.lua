-- arriving: the jobs of one enqueue, and whether each may be taken. Nothing is written here.

-- arrivals is what the caller asks for, and what the partition says of it: four arguments a job, those of the
-- ith from ROW + 4 * i on; and, by job, where in ARGV its unique key stands. The ith job's tail is KEYS[12 +
-- i]. The script fills in behind, known, heads, stored and deep; bytes counts the stored jobs that the call has
-- read (I16).
local ROW = FIRST + 1

local function arrivals(now)
  local n = tonumber(ARGV[FIRST + 4])
  local subjects, ids, unique = {}, {}, {}
  for i = 1, n do
    local at = ROW + 4 * i
    subjects[i], ids[i] = ARGV[at], id_of(ARGV[at + 1])
  end
  for at = ROW + 4 * n + 4, #ARGV, 5 do
    unique[tonumber(ARGV[at])] = at
  end
  return {
    n = n, now = now, each = ARGV[FIRST] == 'each', max_lane = tonumber(ARGV[FIRST + 1]), max_jobs = tonumber(ARGV[FIRST + 2]),
    subjects = subjects, ids = ids, unique = unique,
    first = {}, fresh = {}, later = {}, -- jobs that are taken: by id, in order, and those that wait for a time
    takes = {}, merges = {}, said = {}, -- unique keys that they take; jobs that merge; what is said of the others
    depth = {}, running = {}, bodies = {}, bytes = 0, -- what was asked of Redis once
  }
end

-- body_of returns the stored job of an id, or false. Only the first bytes of jobs that exist are wanted, but
-- Redis gives all of them: so each is read once, and no more than what a call may bring, with what is stored of
-- a job besides its payload: what was enqueued can be enqueued again. A job beyond that is 'heavy', and has to
-- come in another call. It costs two commands for a job that exists, and one otherwise.
local MOST_BESIDES = 5120

local function body_of(a, id)
  if a.bodies[id] == nil then
    local length = call('HSTRLEN', JOBS, id)
    if length > 0 and a.bytes > 0 and a.bytes + length > MOST_BYTES + a.n * MOST_BESIDES then
      return 'heavy'
    end
    a.bytes = a.bytes + length
    a.bodies[id] = length > 0 and call('HGET', JOBS, id)
  end
  return a.bodies[id]
end

-- seq_in_store is the number of a stored job, 0 of one that is gone or waits on the schedule. The caller has
-- seen that it is not 'heavy'.
local function seq_in_store(a, id)
  local body = body_of(a, id)
  return body and seq_of(body) or 0
end

-- placed_at returns when a job is to take its place, ms, or nil when it is now; and whether it is due now.
-- Behind others that are due and could not be placed in this call (a.behind) it lines up on the schedule, due
-- now: so what fell due before it still comes first (I14).
local function placed_at(a, when)
  local now = a.now
  local at = now
  if when ~= '' then
    at = sub(when, 1, 1) == '+' and now + tonumber(when) or tonumber(when)
  end
  return (at > now or a.behind) and math.max(at, now) or nil, at <= now
end

-- no_room returns nil when the partition, the windows of unique keys and the job's lane have room for one more;
-- or what is full, and how many there are. It counts those of this call that are taken. The depth of a lane is
-- asked for only where a lane could be full (a.deep), and once a lane.
local function no_room(a, i, is_due)
  local key, subject, depth = a.unique[i], a.subjects[i], nil
  if is_due and a.deep then
    depth = a.depth[subject] or a.heads[i] and call('LLEN', KEYS[12 + i]) + 1 or 0
    if depth >= a.max_lane then
      return 'full', depth
    end
  end
  if key and tonumber(ARGV[key + 3]) > 0 then -- which may stay long after its job
    a.windows = a.windows or call('ZCARD', extra('windows'))
    if a.windows >= a.max_jobs then
      return 'windows', a.windows
    end
    a.windows = a.windows + 1
  end
  if depth then
    a.depth[subject] = depth + 1
  end
end
