-- lane: moving the heads of lanes. Prepended, after fence and lease, to every
-- script that changes a lane.

-- current reads `stride` arguments a job, the first three being subject, id and
-- token, and picks those whose token holds their lane and whose job is its head
-- (I3). Returns a reply with 'ok' or 'lost' for each, and of those that passed
-- the subjects, ids, entries, and which ones they are.
local function current(stride)
  local all, n = {}, 0
  for at = FIRST + 1, #ARGV, stride do
    n = n + 1
    all[n] = ARGV[at]
  end
  local records = call('HMGET', LEASES, unpack(all))
  local heads = call('HMGET', HEADS, unpack(all))
  local reply, subjects, ids, entries, which, taken = {}, {}, {}, {}, {}, {}
  local k, at = 0, FIRST + 1
  for i = 1, n do
    local subject, id, entry = all[i], ARGV[at + 1], heads[i]
    if entry and fenced(records[i], ARGV[at + 2]) and id_of(entry) == id and not taken[subject] then
      k = k + 1
      reply[i], taken[subject] = 'ok', true
      subjects[k], ids[k], entries[k], which[k] = subject, id, entry, i
    else
      reply[i] = 'lost'
    end
    at = at + stride
  end
  return reply, subjects, ids, entries, which
end

-- arg returns the nth argument (from 0) of the ith job.
local function arg(i, stride, n)
  return ARGV[FIRST + 1 + (i - 1) * stride + n]
end

-- advance drops the heads of lanes and puts the next jobs in their place: listed
-- as ready where there is one, the lane gone where there is none (I4).
local function advance(subjects, tails)
  local heads, gone = {}, {}
  for i, subject in ipairs(subjects) do
    local entry = call('LPOP', tails[i])
    if entry then
      heads[#heads + 1] = subject
      heads[#heads + 1] = entry
      list(entry, subject)
    else
      gone[#gone + 1] = subject
    end
  end
  many('HSET', HEADS, heads)
  many('HDEL', HEADS, gone)
end

-- entry_of makes an entry; attempts and max are decimal text.
local function entry_of(id, kind, attempts, max)
  return string.char(#id) .. id .. string.char(#kind) .. kind .. attempts .. ' ' .. max
end

-- forget drops the last errors of jobs that had any: only a job with an ended
-- attempt can.
local function forget(ids, entries)
  local had = {}
  for i, entry in ipairs(entries) do
    if counts_of(entry) > 0 then
      had[#had + 1] = ids[i]
    end
  end
  many('HDEL', ERRORS, had)
end

-- bury turns jobs into dead letters, each {id, attempts, reason, error}. Their
-- bodies stay where they are; the caller advances their lanes.
local function bury(letters, now)
  local ids, dead, reasons = {}, {}, {}
  for i, letter in ipairs(letters) do
    local id = letter[1]
    ids[i] = id
    dead[2 * i - 1], dead[2 * i] = now, id
    reasons[2 * i - 1], reasons[2 * i] = id, letter[2] .. ' ' .. letter[3] .. '\n' .. letter[4]
  end
  many('HDEL', ERRORS, ids)
  many('ZADD', DEAD, dead)
  many('HSET', REASONS, reasons)
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
