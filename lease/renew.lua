-- renew: move the deadlines of leases that are still the caller's and not over.
--
-- ARGV[6]   ttl      ms
-- ARGV[7+]  pairs: subject, token
--
-- Returns   {'ok' | 'lost' | 'cancel', ...}, a word per lease
--           'cancel': renewed, and an operator wants the lane's head cancelled
--
-- An expired lease is not renewed even when nobody took it yet: its holder has
-- promised to have stopped by then (doc.go, trust window).

local ttl, now = tonumber(ARGV[FIRST]), clock()
local subjects, tokens = {}, {}
for i = FIRST + 1, #ARGV, 2 do
  subjects[#subjects + 1] = ARGV[i]
  tokens[#tokens + 1] = ARGV[i + 1]
end
local records = many('HMGET', LEASES, subjects)
local deadlines = many('ZMSCORE', DEADLINES, subjects)

local asks, reply, later = asks_of(subjects, records), {}, {}
for i, subject in ipairs(subjects) do
  local alive = (moment(deadlines[i]) or 0) > now
  if fenced(records[i], tokens[i]) and alive then
    reply[i] = cancel_asked(asks[subject]) and 'cancel' or 'ok'
    later[#later + 1] = now + ttl
    later[#later + 1] = subject
  else
    reply[i] = 'lost'
  end
end
despite_full_memory()
many('ZADD', DEADLINES, later)
return reply
