-- lane: moving the heads of lanes. Prepended, after fence and lease, to every
-- script that changes a lane.

-- current reads `stride` arguments a job, the first three being subject, id and
-- token, and passes those whose token holds their lane and whose job is its head
-- (I3). Returns a reply with 'ok' or 'lost' for each, and the jobs that passed.
local function current(stride)
  local subjects = {}
  for at = FIRST + 1, #ARGV, stride do
    subjects[#subjects + 1] = ARGV[at]
  end
  local records = many('HMGET', LEASES, subjects)
  local heads = many('HMGET', HEADS, subjects)
  local reply, jobs, taken = {}, {}, {}
  for i, subject in ipairs(subjects) do
    local at = FIRST + 1 + (i - 1) * stride
    local attempts, max, kind, id = string.match(heads[i] or '', '^(%d+) (%d+) (%S+) (.*)$')
    reply[i] = 'lost'
    if fenced(records[i], ARGV[at + 2]) and id == ARGV[at + 1] and not taken[subject] then
      reply[i], taken[subject] = 'ok', true
      jobs[#jobs + 1] = {
        i = i, at = at, subject = subject, tail = KEYS[12 + i], entry = heads[i],
        attempts = tonumber(attempts), max = tonumber(max), kind = kind, id = id,
      }
    end
  end
  return reply, jobs
end

-- column collects one field of every job.
local function column(jobs, field)
  local values = {}
  for i, job in ipairs(jobs) do
    values[i] = job[field]
  end
  return values
end

-- advance drops the heads of lanes and puts the next jobs in their place: listed
-- as ready where there is one, the lane gone where there is none (I4).
local function advance(jobs)
  local heads, gone = {}, {}
  for _, job in ipairs(jobs) do
    local entry = call('LPOP', job.tail)
    if entry then
      heads[#heads + 1] = job.subject
      heads[#heads + 1] = entry
      list(entry, job.subject)
    else
      gone[#gone + 1] = job.subject
    end
  end
  many('HSET', HEADS, heads)
  many('HDEL', HEADS, gone)
end

-- attempted is the entry of a job one of whose attempts has ended. Ids are bytes,
-- so it is joined: string.format('%s') of Redis' Lua stops at a NUL.
local function attempted(job)
  return whole(job.attempts + 1) .. ' ' .. whole(job.max) .. ' ' .. job.kind .. ' ' .. job.id
end

-- bury turns jobs into dead letters. Their bodies stay where they are; the
-- caller advances their lanes. `why` gives reason and error of one job.
local function bury(jobs, now, why)
  local dead, reasons = {}, {}
  for _, job in ipairs(jobs) do
    local reason, failure = why(job)
    dead[#dead + 1] = now
    dead[#dead + 1] = job.id
    reasons[#reasons + 1] = job.id
    reasons[#reasons + 1] = (job.attempts + 1) .. ' ' .. reason .. '\n' .. failure
  end
  many('HDEL', ERRORS, column(jobs, 'id'))
  many('ZADD', DEAD, dead)
  many('HSET', REASONS, reasons)
end

-- forget drops the last errors of jobs that had any: only a job with an ended
-- attempt can.
local function forget(jobs)
  local ids = {}
  for _, job in ipairs(jobs) do
    if job.attempts > 0 then
      ids[#ids + 1] = job.id
    end
  end
  many('HDEL', ERRORS, ids)
end

-- sequence numbers and times stand in a job as 48-bit big-endian integers.
local function bytes6(n)
  local f = math.floor
  return string.char(f(n / 2 ^ 40) % 256, f(n / 2 ^ 32) % 256, f(n / 2 ^ 24) % 256,
    f(n / 65536) % 256, f(n / 256) % 256, n % 256)
end

local function number6(s)
  local a, b, c, d, e, f = string.byte(s, 1, 6)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end
