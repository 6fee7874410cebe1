-- fence: what every script begins with: the names of the partition's keys, the
-- one clock, the one gate for stale callers, and the memory of the last request.
--
-- KEYS[1]   jobs       hash    id -> encoded job
-- KEYS[2]   heads      hash    subject -> entry (internal/record/entry.lua)
-- KEYS[3]   leases     hash    subject -> who has it (internal/record/lease.lua)
-- KEYS[4]   deadlines  zset    subject -> end of its lease, ms
-- KEYS[5]   delayed    zset    subject -> when its head may run, ms
-- KEYS[6]   scheduled  zset    subject, number and entry (internal/record/schedule.lua) -> run-at, ms
-- KEYS[7]   dead       zset    id -> time of death, ms
-- KEYS[8]   reasons    hash    id -> why it died (internal/record/reason.lua)
-- KEYS[9]   errors     hash    id -> last error of a head
-- KEYS[10]  clock      hash    'token', 'seq' -> last one given out; 'kept' -> bytes of outcomes; 'largest' -> of a job
-- KEYS[11]  kinds      set     job kinds seen
-- KEYS[12]  request    string  "<number> <reply>" of this caller's last request
-- ARGV[1]   now        ms, or '' for the server's clock
-- ARGV[2]   number     of this request, or '' when repeating it does no harm
-- ARGV[3]   prefix of the keys ready:<kind>, lists of subjects
-- ARGV[4]   prefix of the keys wake:<kind>, zsets of hints: 'ready', 'due' 
-- ARGV[5]   prefix of the keys tail:<subject>, lists of entries
--
-- Derives   ready:<kind>, wake:<kind>, tail:<subject>, news:<name>; suspended, unique,
--           names, outcomes, ended, windows, expiring, failed, limits, line:<limit>, places:<limit>: all under the hash tag of
--           KEYS[1]; which ones is known only once heads or entries are read.
-- Returns   'stale'

local call = redis.call
local JOBS, HEADS, LEASES, DEADLINES, DELAYED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local SCHEDULED, DEAD, REASONS, ERRORS = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local CLOCK, KINDS, REQUEST = KEYS[10], KEYS[11], KEYS[12]
local READY, WAKE, TAIL = ARGV[3], ARGV[4], ARGV[5]
local FIRST = 6 -- index of the verb's own first argument

-- How long a reply is remembered: longer than go-redis goes on repeating a
-- request (three retries of five seconds each), so no repeat runs twice.
local REMEMBER_MS = '60000'

-- clock reads the time once, in ms; every number a script stores comes from here
-- (I8). The second result is the same in microseconds, as text.
local function clock()
  if ARGV[1] ~= '' then
    return tonumber(ARGV[1]), ARGV[1] .. '000'
  end
  local t = call('TIME')
  -- No digits are cut out to reckon with: what begins with a 0 is octal to miniredis's Lua.
  return t[1] * 1000 + math.floor(t[2] / 1000), t[1] .. sub('00000' .. t[2], -6)
end

-- moment reads a score as ms: nil when there is none, math.huge for 'inf', which miniredis
-- writes in a way that its Lua does not read.
local function moment(score)
  return score and (tonumber(score) or math.huge) or nil
end

-- fenced is the one gate for staleness (I3): does the record of a lease, as read
-- from LEASES, still carry the caller's token? Lanes that were claimed together have
-- equal records, so the last answer is kept.
local asked_record, asked_token, answer

local function fenced(record, token)
  if record ~= asked_record or token ~= asked_token then
    asked_record, asked_token = record, token
    answer = record and sub(record, 1, #token + 1) == token .. ' '
  end
  return answer
end

-- recall returns what this request was answered before, when go-redis repeats it
-- because the reply was lost (I9); false for a new request; and 'stale' as second
-- result for one that a later request of the same caller has overtaken.
local function recall()
  local last = ARGV[2] ~= '' and call('GET', REQUEST)
  if not last then
    return false
  end
  local number, reply = string.match(last, '^(%d+) (.*)$')
  if number == ARGV[2] then
    return reply
  end
  return false, tonumber(number) > tonumber(ARGV[2]) and 'stale'
end

local function remember(reply)
  if ARGV[2] ~= '' then
    call('SET', REQUEST, ARGV[2] .. ' ' .. reply, 'PX', REMEMBER_MS)
  end
end

-- despite_full_memory lets a script write when memory is full: Redis refuses one at its first
-- write only, and not when that takes something away (I10).
local function despite_full_memory()
  call('HDEL', LEASES, '')
end

-- words and unwords turn the flat replies of most verbs into one string and back.
local function words(reply)
  return table.concat(reply, ' ')
end

local function unwords(text)
  local reply = {}
  for word in string.gmatch(text, '%S+') do
    reply[#reply + 1] = word
  end
  return reply
end

-- answered returns the whole reply to a request that needs no running again: the one
-- it got before, or {'stale'}.
local function answered()
  local before, stale = recall()
  return stale and { stale } or before and unwords(before)
end

-- extra names a key that only few lanes and jobs need (subject/keys.go).
local function extra(name)
  return sub(JOBS, 1, -5) .. name
end

-- news says that something has happened, to whoever listens for that name.
local function news(name, text)
  redis.pcall('PUBLISH', extra('news:') .. name, text) -- a hint: who may not say it goes on
end

-- many makes one command of many arguments, or none of none. Callers keep
-- batches below what unpack allows (7,999 on Redis, 5,113 on miniredis).
local function many(command, key, args)
  if #args > 0 then
    return call(command, key, unpack(args))
  end
  return {}
end
