-- end: end attempts, each in its own way, and the leases they were made under: of one job, or of all jobs of a lane
-- batch.
--
-- KEYS[13+]  tail:<subject> of each lease
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7]    number of leases
-- ARGV[8+]   four a lease: subject, token, on how many different workers its jobs may fail (0: any number),
--            number of its jobs; then six a job, in their order, the head of each lease first: entry, verdict
--            'done' | 'failed' | 'fatal' | 'back', ms until the next attempt, ms to keep the outcome, result or
--            error, reason of a fatal one
--
-- Returns    two a job: 'gone' | 'cancelled' | 'again' | 'aside' | 'dead' | 'halted', and 'exhausted' | 'workers' |
--            'fatal' | '-' for why; or 'lost' and '-' for each job of a lease that is no longer the caller's | {'stale'}

local before = answered()
if before then
  return before
end

local n, LEASE = tonumber(ARGV[FIRST + 1]), FIRST + 2
local now, subjects, reply, e, taken = clock(), {}, {}, ends(), {}
for i = 1, n do
  subjects[i] = ARGV[LEASE + 4 * (i - 1)]
end
local records, heads = call('HMGET', LEASES, unpack(subjects)), call('HMGET', HEADS, unpack(subjects))
local ids, at = {}, LEASE + 4 * n
for row = at, #ARGV, 6 do
  ids[#ids + 1] = id_of(ARGV[row])
end
local notes, asks, seen = notes_of(ids), asks_of(subjects, records), 0
for i = 1, n do
  local row, subject, jobs = LEASE + 4 * (i - 1), subjects[i], {}
  local size = tonumber(ARGV[row + 3])
  local entries = size > 1 and call('LRANGE', KEYS[12 + i], 0, size - 2) or {}
  local own = not taken[subject] and fenced(records[i], ARGV[row + 1]) -- and the jobs are those in front (I3)
  for j = 1, size do
    local job = { ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4] }
    seen = seen + 1
    job[6], job[7] = job[2] == 'fatal' and ARGV[at + 5] or nil, notes[seen]
    own = own and (j == 1 and heads[i] or entries[j - 1]) == job[1]
    jobs[j], at = job, at + 6
  end
  local said = own and end_lane(e, subject, records[i], asks[subject], KEYS[12 + i], jobs, tonumber(ARGV[row + 2]), now)
  taken[subject] = taken[subject] or own
  for j = 1, 2 * size do
    reply[#reply + 1] = said and said[j] or j % 2 == 1 and 'lost' or '-'
  end
end
-- Only now is written. When every lease was lost there is nothing to write or remember: a repeat hears the
-- same.
if #e.subjects > 0 then
  settle(e, now, ARGV[FIRST])
  for kind in pairs(ARGV[FIRST] == '' and e.wake or {}) do -- the caller will not come back for it by itself
    call('ZADD', WAKE .. kind, 0, 'due')
  end
  remember(words(reply))
end
return reply
