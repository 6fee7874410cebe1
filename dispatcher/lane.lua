-- lane: moving the heads of lanes. Prepended, after fence and lease, to every
-- script that changes a lane.

-- current reads `stride` arguments a job, the first three being subject, entry and
-- token, and picks those whose token holds their lane and whose job is its head (I3).
-- Returns a reply with 'ok' or 'lost' for each, and of those picked the subjects,
-- entries, tails, and which ones they are.
local function current(stride)
  local all, n = {}, 0
  for at = FIRST + 1, #ARGV, stride do
    n = n + 1
    all[n] = ARGV[at]
  end
  local records = call('HMGET', LEASES, unpack(all))
  local heads = call('HMGET', HEADS, unpack(all))
  local reply, subjects, entries, tails, which, taken = {}, {}, {}, {}, {}, {}
  local k, at = 0, FIRST + 1
  for i = 1, n do
    local subject, entry, tail = all[i], ARGV[at + 1], KEYS[12 + i]
    if not taken[subject] and heads[i] == entry and fenced(records[i], ARGV[at + 2]) then
      k = k + 1
      reply[i], taken[subject] = 'ok', true
      subjects[k], entries[k], tails[k], which[k] = subject, entry, tail, i
    else
      reply[i] = 'lost'
    end
    at = at + stride
  end
  return reply, subjects, entries, tails, which
end

-- arg returns the nth argument (from 0) of the ith job.
local function arg(i, stride, n)
  return ARGV[FIRST + 1 + (i - 1) * stride + n]
end

-- place writes new heads of lanes, as pairs, and drops lanes that have none left (I4).
local function place(heads, gone)
  many('HSET', HEADS, heads)
  many('HDEL', HEADS, gone)
end

-- advance drops the heads of lanes and puts the next jobs in their place: listed
-- as ready where there is one, the lane gone where there is none.
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
  place(heads, gone)
end

-- counts_of returns the ended attempts and the maximum of an entry.
local function counts_of(entry)
  local id, kind = byte(entry, 1, 2)
  local counts = sub(entry, 3 + id + kind)
  local attempts, max = string.match(counts, '^(%d+) (%d+)$')
  return tonumber(attempts or 0), tonumber(max or counts)
end

-- entry_of makes an entry; max is decimal text.
local function entry_of(id, kind, attempts, max)
  local counts = attempts > 0 and whole(attempts) .. ' ' .. max or max
  return string.char(#id, #kind) .. id .. kind .. counts
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

-- big_endian makes a whole number of n bytes, and number reads the bytes from..to of
-- a string as one: sequence numbers and times stand so in a job.
local function big_endian(value, n)
  local s = ''
  for _ = 1, n do
    s = string.char(value % 256) .. s
    value = math.floor(value / 256)
  end
  return s
end

local function number(s, from, to)
  local value = 0
  for i = from, to do
    value = value * 256 + byte(s, i)
  end
  return value
end
