-- partition: what every script on a partition begins with: the names of its keys and of what the caller gives.
--
-- KEYS[1]   jobs       hash    id -> encoded job
-- KEYS[2]   heads      hash    subject -> entry
-- KEYS[3]   leases     hash    subject -> who has it
-- KEYS[4]   deadlines  zset    subject -> end of its lease, ms
-- KEYS[5]   parked     zset    subject -> when to look again, ms
-- KEYS[6]   scheduled  zset    subject, number and entry -> run-at, ms
-- KEYS[7]   dead       zset    id -> time of death, ms
-- KEYS[8]   reasons    hash    id -> why it died
-- KEYS[9]   notes      hash    id -> what has come of a job so far
-- KEYS[10]  clock      hash    'token', 'seq' -> last one given out; 'kept' -> bytes of outcomes; 'largest' -> of a job; 'policy'
-- KEYS[11]  kinds      set     job kinds seen
-- KEYS[12]  request    string  "<number> <reply>" of this caller's last request
-- ARGV[1]   now        ms, or '' for the server's clock
-- ARGV[2]   number     of this request, or '' when repeating it does no harm
-- ARGV[3]   prefix of the keys ready:<kind>, lists of subjects
-- ARGV[4]   prefix of the keys wake:<kind>, zsets of hints: 'ready', 'due'
-- ARGV[5]   prefix of the keys tail:<subject>, lists of entries
--
-- The forms of all values are in internal/record.
--
-- Derives   ready:<kind>, wake:<kind>, tail:<subject>, news:<name>; park_reasons, asks, unique,
--           names, outcomes, ended, windows, expiring, limits, audit, policy, barring, barred:<hold>, line:<limit>, places:<limit>: all under the hash tag of
--           KEYS[1]; which ones is known only once heads or entries are read.
-- Returns   'stale'

local call = redis.call
local JOBS, HEADS, LEASES, DEADLINES, PARKED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local SCHEDULED, DEAD, REASONS, NOTES = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local CLOCK, KINDS, REQUEST = KEYS[10], KEYS[11], KEYS[12]
local READY, WAKE, TAIL = ARGV[3], ARGV[4], ARGV[5]
local FIRST = 6 -- index of the verb's own first argument

-- despite_full_memory lets a script write when memory is full: Redis refuses one at its first
-- write only, and not when that takes something away (I10).
local function despite_full_memory()
  call('HDEL', LEASES, '')
end

-- extra names a key that only few lanes and jobs need (subject/keys.go).
local function extra(name)
  return sub(JOBS, 1, -5) .. name
end

-- tell says that something has happened, to whoever listens for that name.
local function tell(name, text)
  redis.pcall('PUBLISH', extra('news:') .. name, text) -- a hint: who may not say it goes on
end
